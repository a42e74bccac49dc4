package mailtext

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// Field decodes the words of RFC 2047 in an unfolded value of a header field.
// The result is valid UTF-8 on one line: line ends and NUL that hide in a word
// become spaces, and octets that are not UTF-8 count as Latin-1.
func Field(value string) string {
	if !strings.Contains(value, "=?") {
		return valid(value)
	}
	var out []byte
	Words{Emit: func(text []byte) { out = append(out, text...) }}.Decode([]byte(value))
	return valid(string(out))
}

func valid(s string) string {
	if utf8.ValidString(s) && !strings.ContainsAny(s, "\r\n\x00") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			r = rune(s[i])
		case r == '\r', r == '\n', r == 0:
			r = ' '
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

// Words decodes a header field piece by piece.
type Words struct {
	Emit func(text []byte) // gets the text; it is valid until Emit returns
}

// A word is an encoded-word (RFC 2047 §2).
type word struct {
	charset string
	base64  bool
	text    []byte
}

// Decode decodes one unfolded value. Words that stand side by side are joined
// before their character set is decoded, since some senders cut a character
// in two.
func (w Words) Decode(value []byte) {
	j := joiner{emit: w.Emit}
	for {
		at := bytes.Index(value, []byte("=?"))
		if at < 0 {
			break
		}
		x, rest, ok := cutWord(value[at:])
		if !ok {
			at += 2
			j.plain(value[:at])
			value = value[at:]
			continue
		}
		if gap := value[:at]; !j.open || len(bytes.TrimLeft(gap, " \t\r\n")) > 0 {
			j.plain(gap) // RFC 2047 §6.2: blanks between two words are not shown
		}
		j.word(x)
		value = rest
	}
	j.plain(value)
}

// maxCharset bounds the name of a character set, so that looking for its end
// stays cheap.
const maxCharset = 60

// cutWord takes the word that s begins with. Blanks and question marks in it,
// which RFC 2047 forbids, are taken.
func cutWord(s []byte) (x word, rest []byte, ok bool) {
	head := s[2:]
	i := bytes.IndexByte(head[:min(len(head), maxCharset)], '?')
	if i < 1 || len(head) < i+3 || head[i+2] != '?' {
		return x, nil, false
	}
	name, _, _ := bytes.Cut(head[:i], []byte{'*'}) // RFC 2231 §5: a language follows
	switch head[i+1] {
	case 'b', 'B':
		x.base64 = true
	case 'q', 'Q':
	default:
		return x, nil, false
	}
	text := head[i+3:]
	end := endOfWord(text)
	if end < 0 {
		return x, nil, false
	}
	if _, known := lookup(string(name)); !known {
		return x, nil, false
	}
	x.charset, x.text = strings.ToLower(string(name)), text[:end]
	return x, text[end+2:], true
}

// endOfWord returns where "?=" is in text, -1 when another word begins before
// it: so that nothing is looked through twice.
func endOfWord(text []byte) int {
	for at := 0; ; at++ {
		i := bytes.IndexByte(text[at:], '?')
		if i < 0 {
			return -1
		}
		at += i
		if at+1 < len(text) && text[at+1] == '=' {
			return at
		}
		if at > 0 && text[at-1] == '=' {
			return -1
		}
	}
}

// A joiner puts words together and decodes their character set.
type joiner struct {
	emit    func([]byte)
	open    bool // the last thing was a word
	charset string
	decoder transform.Transformer // nil: the octets are the text
	raw     []byte                // octets that are not decoded yet
	out     []byte
}

// plain passes on what is no word.
func (j *joiner) plain(text []byte) {
	j.end()
	if len(text) > 0 {
		j.emit(text)
	}
}

// end decodes what is left of a run of words.
func (j *joiner) end() {
	if j.open {
		j.decode(true)
	}
	j.open = false
}

func (j *joiner) word(x word) {
	if !j.open || x.charset != j.charset {
		j.end()
		j.open, j.charset, j.decoder = true, x.charset, nil
		if enc, _ := lookup(x.charset); enc != nil {
			j.decoder = enc.NewDecoder()
		}
	}
	var b base64Decoder
	for len(x.text) > 0 {
		n := min(len(x.text), 4<<10)
		if i := bytes.LastIndexByte(x.text[max(0, n-2):n], '='); n < len(x.text) && i >= 0 {
			n += i - 2 // an escape is not cut
		}
		if x.base64 {
			j.raw = b.append(j.raw, x.text[:n])
		} else {
			j.raw = appendQ(j.raw, x.text[:n])
		}
		x.text = x.text[n:]
		j.decode(false)
	}
	j.raw = b.finish(j.raw)
}

// decode turns octets into text; the last ones may wait for the next word.
func (j *joiner) decode(last bool) {
	if j.decoder == nil {
		keep := 0
		if !last {
			keep = halfRune(j.raw)
		}
		j.send(j.raw[:len(j.raw)-keep])
		j.raw = append(j.raw[:0], j.raw[len(j.raw)-keep:]...)
		return
	}
	if j.out == nil {
		j.out = make([]byte, 4<<10)
	}
	src := j.raw
	for len(src) > 0 || last {
		n, took, err := j.decoder.Transform(j.out, src, last)
		j.send(j.out[:n])
		src = src[took:]
		if err != transform.ErrShortDst {
			break
		}
	}
	j.raw = append(j.raw[:0], src...)
	if last || len(j.raw) > utf8.UTFMax*4 {
		j.raw = j.raw[:0]
	}
}

// send passes on the text of words, which must not look like another field.
func (j *joiner) send(text []byte) {
	for i, c := range text {
		if c == '\r' || c == '\n' || c == 0 {
			text[i] = ' '
		}
	}
	if len(text) > 0 {
		j.emit(text)
	}
}

// halfRune returns how many octets at the end of b begin a character of UTF-8.
func halfRune(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			break
		}
	}
	return 0
}

// appendQ decodes the Q encoding (RFC 2047 §4.2).
func appendQ(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(text) && unhex(text[i+1]) < 16 && unhex(text[i+2]) < 16:
			dst = append(dst, unhex(text[i+1])<<4|unhex(text[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// unhex returns the value of a hexadecimal digit, 16 when c is none.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}
