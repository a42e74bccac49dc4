package mailtext

import (
	"bytes"
	"html"
	"strings"

	"golang.org/x/text/transform"
)

// htmlText makes text of HTML: without tags, comments, scripts and style
// sheets, with entities decoded, and any run of blanks as one. It keeps a few
// octets, whatever the page looks like.
type htmlText struct {
	state htmlState
	raw   string // the element whose text is dropped: script or style
	name  []byte // of the tag that is being read
	quote byte   // of the attribute that is being read
	dash  int    // hyphens in a row, in a comment
	blank bool   // the last octet of text was a blank
}

type htmlState uint8

const (
	inText htmlState = iota
	inTag
	inComment
	inRaw // script or style
)

const (
	maxTagName = 10 // of the names that matter
	maxEntity  = 33
)

func (h *htmlText) Reset() { *h = htmlText{name: h.name[:0]} }

func (h *htmlText) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst+maxEntity > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		var n, took int
		switch h.state {
		case inText:
			n, took = h.text(dst[nDst:], src[nSrc:], atEOF)
		case inTag:
			n, took = h.tag(dst[nDst:], src[nSrc:])
		case inComment:
			took = h.comment(src[nSrc:])
		case inRaw:
			took = h.skipRaw(src[nSrc:], atEOF)
		}
		if took == 0 {
			return nDst, nSrc, transform.ErrShortSrc
		}
		nDst += n
		nSrc += took
	}
	return nDst, nSrc, nil
}

// text passes on text up to a tag or an entity, and begins those.
func (h *htmlText) text(dst, src []byte, atEOF bool) (n, took int) {
	for took < len(src) && n+maxEntity <= len(dst) {
		switch c := src[took]; c {
		case '<':
			if took > 0 {
				return n, took
			}
			return h.less(dst, src, atEOF)
		case '&':
			if took > 0 {
				return n, took
			}
			return h.entity(dst, src, atEOF)
		case ' ', '\t', '\r', '\n', '\f':
			n += h.space(dst[n:])
		default:
			dst[n] = c
			n++
			h.blank = false
		}
		took++
	}
	return n, took
}

func (h *htmlText) space(dst []byte) int {
	if h.blank {
		return 0
	}
	h.blank = true
	dst[0] = ' '
	return 1
}

// less begins a tag or a comment, if the < is one's.
func (h *htmlText) less(dst, src []byte, atEOF bool) (n, took int) {
	if len(src) < 4 && !atEOF {
		return 0, 0
	}
	if bytes.HasPrefix(src, []byte("<!--")) {
		h.state, h.dash = inComment, 2 // <!--> is a whole one
		return 0, 4
	}
	if len(src) > 1 && (isLetter(src[1]) || src[1] == '/' || src[1] == '!' || src[1] == '?') {
		h.state, h.name, h.quote = inTag, h.name[:0], 0
		h.raw = ""
		return 0, 1
	}
	dst[0] = '<'
	h.blank = false
	return 1, 1
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// entity decodes a character reference, if the & begins one.
func (h *htmlText) entity(dst, src []byte, atEOF bool) (n, took int) {
	end := 1
	for end < len(src) && end < maxEntity && (isLetter(src[end]) || '0' <= src[end] && src[end] <= '9' || src[end] == '#') {
		end++
	}
	if end == len(src) && end < maxEntity && !atEOF {
		return 0, 0
	}
	if end < len(src) && src[end] == ';' {
		end++
	}
	text := html.UnescapeString(string(src[:end]))
	h.blank = false
	if text == "\u00a0" {
		return h.space(dst), end
	}
	return copy(dst, text), end
}

// tag reads a tag up to its end. Names, of which only the beginning counts,
// end at the first octet that is no letter or digit.
func (h *htmlText) tag(dst, src []byte) (n, took int) {
	for took < len(src) {
		c := src[took]
		took++
		switch {
		case h.quote > 0xf: // in quotes
			if c == h.quote {
				h.quote = attribute
			}
		case c == '>':
			return h.endTag(dst), took
		case h.quote == 0 && (isLetter(c) || '1' <= c && c <= '6' || c == '/' && len(h.name) == 0):
			if len(h.name) < maxTagName {
				h.name = append(h.name, c|0x20)
			}
		case c == '=':
			h.quote = value
		case (c == '"' || c == '\'') && h.quote == value:
			h.quote = c
		case c != ' ' && c != '\t' && c != '\r' && c != '\n' || h.quote == 0:
			h.quote = attribute
		}
	}
	return 0, took
}

// What htmlText.quote holds, when it is no quote.
const (
	attribute = 1 // the name is over
	value     = 2 // after =
)

// phrasing are the elements that do not end a word.
const phrasing = " a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark nobr q s samp small span strike strong sub sup tt u var wbr "

func (h *htmlText) endTag(dst []byte) int {
	h.state = inText
	name := string(h.name)
	if name == "script" || name == "style" {
		h.state, h.raw = inRaw, "</"+name
		return 0
	}
	if strings.Contains(phrasing, " "+strings.TrimPrefix(name, "/")+" ") {
		return 0
	}
	return h.space(dst)
}

// comment skips a comment up to its end.
func (h *htmlText) comment(src []byte) (took int) {
	for took < len(src) {
		c := src[took]
		took++
		switch {
		case c == '-':
			h.dash++
		case c == '>' && h.dash >= 2:
			h.state = inText
			return took
		default:
			h.dash = 0
		}
	}
	return took
}

// skipRaw skips the text of a script or a style sheet.
func (h *htmlText) skipRaw(src []byte, atEOF bool) (took int) {
	i := bytes.IndexByte(src, '<')
	switch {
	case i < 0:
		return len(src)
	case i > 0:
		return i
	case len(src) < len(h.raw):
		if atEOF {
			return len(src)
		}
		return 0
	case strings.EqualFold(string(src[:len(h.raw)]), h.raw):
		h.state, h.name, h.quote = inTag, h.name[:0], 0
		return 1
	}
	return 1
}
