package mailbox

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"peyk/internal/mailtext"
	"peyk/internal/mimescan"
)

// Limits of a preview. RFC 8970 §3.1 recommends 200 characters, and lets none
// have more than 256.
const (
	previewChars = 200
	previewRead  = 128 << 10 // octets of a part that are looked at
	previewParts = 20        // parts that are looked at
)

// previewOf returns the beginning of the text that a reader would see first:
// the first text part that is no attachment and has words in it, plain text
// before HTML. It is one line; "" means that there is no such part.
func previewOf(r io.ReaderAt, root *mimescan.Part) string {
	var parts []*mimescan.Part
	collectText(root, &parts)
	var texts mailtext.Reader
	for _, html := range []bool{false, true} {
		for _, p := range parts {
			if strings.EqualFold(p.Subtype, "html") != html {
				continue
			}
			texts.Reset(io.NewSectionReader(r, p.Body.Start, min(p.Body.Len(), previewRead)),
				mailtext.Part{Subtype: p.Subtype, Encoding: p.Encoding, Charset: p.Param("charset")})
			if line := oneLine(&texts); line != "" {
				return line
			}
		}
	}
	return ""
}

// collectText finds text parts in the order in which they stand.
func collectText(p *mimescan.Part, parts *[]*mimescan.Part) {
	if len(*parts) >= previewParts {
		return
	}
	if p.Text() && !strings.EqualFold(p.Disposition, "attachment") {
		*parts = append(*parts, p)
		return
	}
	for _, child := range p.Parts {
		collectText(child, parts)
	}
}

// oneLine reads words as far as a preview goes, with one space between them.
func oneLine(r io.Reader) string {
	var buf [1024]byte
	var line previewLine
	rest := 0 // octets of buf that are the beginning of a character
	for line.chars < previewChars {
		n, err := r.Read(buf[rest:])
		text := buf[:rest+n]
		for len(text) > 0 && line.chars < previewChars && (err != nil || utf8.FullRune(text)) {
			c, size := utf8.DecodeRune(text)
			line.add(c)
			text = text[size:]
		}
		rest = copy(buf[:], text)
		if err != nil || n == 0 {
			break
		}
	}
	return line.String()
}

// A previewLine is text of which all runs of blanks become one space.
type previewLine struct {
	bytes.Buffer
	chars int
	blank bool // a space is due before the next word
}

func (l *previewLine) add(c rune) {
	if unicode.IsSpace(c) || unicode.IsControl(c) || c == '\u200b' || c == '\ufeff' || c == '\u00ad' || c == '\u034f' {
		l.blank = l.blank || unicode.IsSpace(c)
		return
	}
	if l.blank && l.chars > 0 {
		l.WriteByte(' ')
		l.chars++
	}
	l.blank = false
	if l.chars < previewChars {
		l.WriteRune(c)
		l.chars++
	}
}
