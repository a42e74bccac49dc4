package imapd

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"

	"peyk/internal/mimescan"
)

// fold makes two texts equal that differ only in case.
func fold(s string) string { return strings.Map(unicode.ToLower, s) }

// decodeWords decodes RFC 2047 words, and takes octets that are not UTF-8 for
// Latin-1.
func decodeWords(value string) string {
	d := mime.WordDecoder{CharsetReader: charset.Reader}
	if strings.Contains(value, "=?") {
		if text, err := d.DecodeHeader(value); err == nil {
			value = text
		}
	}
	if utf8.ValidString(value) {
		return value
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		b.WriteRune(rune(value[i]))
	}
	return b.String()
}

// firstField returns the unfolded value of the first field of a name.
func firstField(header []byte, name string) (text string) {
	mimescan.Fields(header, func(n, value []byte) bool {
		if !strings.EqualFold(string(n), name) {
			return true
		}
		text = mimescan.Unfold(value)
		return false
	})
	return text
}

// headerHas reports whether a field of the name contains the needle, decoded.
// An empty needle asks only for the field (RFC 3501 §6.4.4).
func headerHas(header []byte, t headerTest) (has bool) {
	mimescan.Fields(header, func(n, value []byte) bool {
		if strings.EqualFold(string(n), t.name) {
			has = t.needle == "" || strings.Contains(fold(decodeWords(mimescan.Unfold(value))), t.needle)
		}
		return !has
	})
	return has
}

// searchText looks for all needles at once: in the header, and in the decoded
// text parts and the headers of parts.
func (l *letter) searchText(needles []string) ([]found, error) {
	out := make([]found, len(needles))
	if err := l.readHeader(); err != nil {
		return nil, err
	}
	top := &finder{needles: needles, hit: func(i int) { out[i].header = true }}
	top.header(l.header)
	root, err := l.structure()
	if err != nil {
		return nil, err
	}
	body := &finder{needles: needles, hit: func(i int) { out[i].body = true }}
	body.empty()
	return out, l.searchPart(root, body)
}

// searchPart looks into one part and those below it.
func (l *letter) searchPart(p *mimescan.Part, f *finder) error {
	for _, child := range p.Parts {
		header, err := l.bytes(child.Header, mimescan.MaxHeader)
		if err != nil {
			return err
		}
		f.header(header)
		if err := l.searchPart(child, f); err != nil {
			return err
		}
	}
	if !p.Text() {
		return nil
	}
	return f.read(l.decoded(p))
}

// decoded is the text of a part, decoded as far as it can be.
func (l *letter) decoded(p *mimescan.Part) io.Reader {
	var r io.Reader = io.NewSectionReader(l.r, p.Body.Start, p.Body.Len())
	switch strings.ToLower(p.Encoding) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, &base64Only{r: r})
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	switch name := strings.ToLower(p.Param("charset")); name {
	case "", "utf-8", "us-ascii":
	default:
		if decoded, err := charset.Reader(name, r); err == nil {
			return decoded
		}
	}
	return r
}

// base64Only drops what is no base64, as RFC 2045 §6.8 wants.
type base64Only struct{ r io.Reader }

func (b *base64Only) Read(p []byte) (int, error) {
	for {
		n, err := b.r.Read(p)
		kept := p[:0]
		for _, c := range p[:n] {
			if isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '+' || c == '/' || c == '=' {
				kept = append(kept, c)
			}
		}
		if len(kept) > 0 || err != nil {
			return len(kept), err
		}
	}
}

// finder looks for several needles in a stream of text. Between two blocks it
// keeps as much as the longest needle could straddle.
type finder struct {
	needles []string
	done    []bool
	hit     func(i int)
}

func (f *finder) mark(i int) {
	if f.done == nil {
		f.done = make([]bool, len(f.needles))
	}
	f.done[i] = true
	f.hit(i)
}

func (f *finder) pending(i int) bool { return f.done == nil || !f.done[i] }

// empty finds the needles that are everywhere.
func (f *finder) empty() {
	for i, n := range f.needles {
		if n == "" {
			f.mark(i)
		}
	}
}

// header looks into all fields of a header.
func (f *finder) header(header []byte) {
	mimescan.Fields(header, func(name, value []byte) bool {
		f.in([]byte(fold(string(name) + ": " + decodeWords(mimescan.Unfold(value)))))
		return true
	})
}

func (f *finder) in(text []byte) {
	for i, n := range f.needles {
		if f.pending(i) && bytes.Contains(text, []byte(n)) {
			f.mark(i)
		}
	}
}

// read looks into a stream. Text that cannot be decoded to its end is
// searched as far as it goes.
func (f *finder) read(r io.Reader) error {
	longest := 0
	for i, n := range f.needles {
		if f.pending(i) {
			longest = max(longest, len(n))
		}
	}
	if longest == 0 {
		return nil
	}
	raw := make([]byte, 16<<10)
	var text []byte
	carry := 0 // octets of a rune cut in two, at the front of raw
	for {
		n, err := io.ReadFull(r, raw[carry:])
		n += carry
		whole := n
		if err == nil {
			whole = wholeRunes(raw[:n])
		}
		text = appendFolded(text, raw[:whole])
		f.in(text)
		if err != nil {
			return nil
		}
		carry = copy(raw, raw[whole:n])
		keep := min(len(text), longest+utf8.UTFMax)
		text = append(text[:0], text[len(text)-keep:]...)
	}
}

// wholeRunes returns how much of b ends with a whole rune.
func wholeRunes(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return len(b) - i
			}
			break
		}
	}
	return len(b)
}

// appendFolded appends text in lower case; line ends of quoted text become
// what they are, so that a needle never spans lines unseen.
func appendFolded(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		c := src[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			r = rune(c) // Latin-1, most likely
		}
		dst = utf8.AppendRune(dst, unicode.ToLower(r))
		i += n
	}
	return dst
}
