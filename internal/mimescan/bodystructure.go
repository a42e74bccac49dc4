package mimescan

import (
	"slices"
	"strconv"
)

// emptyPart stands in a multipart without parts, which RFC 3501's grammar
// does not know.
const emptyPart = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0`

// AppendBodyStructure appends the IMAP body structure of p with its
// parentheses: BODYSTRUCTURE when extended, else BODY (RFC 3501 §7.4.2).
func (p *Part) AppendBodyStructure(dst []byte, extended bool) []byte {
	dst = append(dst, '(')
	if p.Multipart() {
		dst = p.appendMultipart(dst, extended)
	} else {
		dst = p.appendSingle(dst, extended)
	}
	return append(dst, ')')
}

func (p *Part) appendMultipart(dst []byte, extended bool) []byte {
	for _, child := range p.Parts {
		dst = child.AppendBodyStructure(dst, extended)
	}
	if len(p.Parts) == 0 {
		dst = append(dst, emptyPart...)
		if extended {
			dst = append(dst, " NIL NIL NIL NIL"...)
		}
		dst = append(dst, ')')
	}
	dst = append(dst, ' ')
	dst = AppendString(dst, p.Subtype)
	if !extended {
		return dst
	}
	dst = append(dst, ' ')
	dst = appendParams(dst, p.Params, false)
	return p.appendExtension(dst)
}

func (p *Part) appendSingle(dst []byte, extended bool) []byte {
	dst = AppendString(dst, p.Type)
	dst = append(dst, ' ')
	dst = AppendString(dst, p.Subtype)
	dst = append(dst, ' ')
	dst = appendParams(dst, p.Params, p.Text())
	dst = append(dst, ' ')
	dst = AppendNString(dst, p.ID)
	dst = append(dst, ' ')
	dst = AppendNString(dst, p.Description)
	dst = append(dst, ' ')
	dst = appendEncoding(dst, p.Encoding)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, p.BodySize, 10)
	switch {
	case p.Text():
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, p.Lines, 10)
	case p.Message():
		dst = p.appendMessage(dst, extended)
	}
	if !extended {
		return dst
	}
	dst = append(dst, ' ')
	dst = AppendNString(dst, p.MD5)
	return p.appendExtension(dst)
}

func (p *Part) appendMessage(dst []byte, extended bool) []byte {
	inner := p.Parts[0]
	dst = append(dst, " ("...)
	dst = append(dst, inner.Envelope...)
	dst = append(dst, ") "...)
	dst = inner.AppendBodyStructure(dst, extended)
	dst = append(dst, ' ')
	return strconv.AppendInt(dst, p.Lines, 10)
}

func appendEncoding(dst []byte, encoding string) []byte {
	if encoding == "" {
		return append(dst, `"7bit"`...)
	}
	return AppendString(dst, encoding)
}

// appendExtension appends disposition, language and location.
func (p *Part) appendExtension(dst []byte) []byte {
	if p.Disposition == "" {
		dst = append(dst, " NIL"...)
	} else {
		dst = append(dst, " ("...)
		dst = AppendString(dst, p.Disposition)
		dst = append(dst, ' ')
		dst = appendParams(dst, p.DispParams, false)
		dst = append(dst, ')')
	}
	dst = appendLanguages(dst, p.Language)
	dst = append(dst, ' ')
	return AppendNString(dst, p.Location)
}

func appendLanguages(dst []byte, tags []string) []byte {
	if len(tags) == 0 {
		return append(dst, " NIL"...)
	}
	dst = append(dst, " ("...)
	for i, tag := range tags {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = AppendString(dst, tag)
	}
	return append(dst, ')')
}

// appendParams appends a parameter list; text has a character set even if the
// header does not say so (RFC 2045 §5.2).
func appendParams(dst []byte, params []Param, text bool) []byte {
	if text && !slices.ContainsFunc(params, func(p Param) bool { return foldEqual(p.Name, "charset") }) {
		params = append(params[:len(params):len(params)], Param{"charset", "us-ascii"})
	}
	if len(params) == 0 {
		return append(dst, "NIL"...)
	}
	sep := byte('(')
	for _, p := range params {
		dst = append(dst, sep)
		sep = ' '
		dst = AppendString(dst, p.Name)
		dst = append(dst, ' ')
		dst = AppendString(dst, p.Value)
	}
	return append(dst, ')')
}
