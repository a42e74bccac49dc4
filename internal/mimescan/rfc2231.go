package mimescan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Params returns the parameters of a field such as Content-Type, those of RFC
// 2231 §3 joined. At most 100 are looked at.
func Params(value string) []Param {
	x := &lexer{s: value}
	return x.params()
}

// A piece is one part of a parameter that was cut (RFC 2231 §3).
type piece struct {
	name     string
	number   int
	extended bool // its value has percent signs (RFC 2231 §4)
	value    string
}

// joinPieces joins the pieces of each cut parameter to one, named NAME, or
// NAME* when a piece is extended. Joined ones come after the whole ones.
func joinPieces(params []Param) []Param {
	var pieces []piece
	whole := params[:0:len(params)]
	for _, p := range params {
		if c, ok := pieceOf(p); ok {
			pieces = append(pieces, c)
			continue
		}
		whole = append(whole, p)
	}
	if len(pieces) == 0 {
		return params
	}
	slices.SortStableFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name)), cmp.Compare(a.number, b.number))
	})
	for len(pieces) > 0 {
		n := 1
		for n < len(pieces) && foldEqual(pieces[n].name, pieces[0].name) && pieces[n].number == n {
			n++
		}
		if pieces[0].number == 0 {
			whole = append(whole, join(pieces[:n]))
		}
		pieces = pieces[n:] // a piece after a gap is dropped
	}
	return whole
}

// pieceOf understands NAME*NUMBER and NAME*NUMBER*.
func pieceOf(p Param) (piece, bool) {
	name, rest, ok := strings.Cut(p.Name, "*")
	if !ok || rest == "" {
		return piece{}, false // NAME* alone is whole
	}
	digits, extended := strings.CutSuffix(rest, "*")
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return piece{}, false
	}
	return piece{name, int(number), extended, p.Value}, true
}

func join(pieces []piece) Param {
	extended := slices.ContainsFunc(pieces, func(p piece) bool { return p.extended })
	var value strings.Builder
	if extended && !pieces[0].extended {
		value.WriteString("''") // no character set is named
	}
	for _, p := range pieces {
		if extended && !p.extended {
			value.WriteString(escapePercent(p.value))
			continue
		}
		value.WriteString(p.value)
	}
	name := pieces[0].name
	if extended {
		name += "*"
	}
	return Param{name, value.String()}
}

// escapePercent gives a plain piece the form of an extended one.
func escapePercent(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; isToken(c) && c < 0x80 && strings.IndexByte("*'%", c) < 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + strconv.FormatUint(0x100+uint64(s[i]), 16)[1:])
	}
	return b.String()
}
