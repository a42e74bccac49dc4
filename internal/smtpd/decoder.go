package smtpd

import "bytes"

var crlf = []byte("\r\n")

// A fault is something that must not stand in a message.
type fault string

// The faults (RFC 5321 §2.3.8 and §4.1.1.4).
const (
	bareCR fault = "a CR without LF"
	bareLF fault = "a LF without CR"
	nul    fault = "a NUL"
)

// A decoder takes the octets of DATA, or with dots false of BDAT chunks, and
// gives sink the message line by line; a piece that is not the end of a line
// does not end in CR. Only CR LF is a line end, so only CR LF . CR LF is an
// end: whatever else looks like one to somebody else is a fault.
type decoder struct {
	dots      bool // transparency of RFC 5321 §4.5.2
	normalize bool // a lone CR or LF becomes CR LF, and is no fault
	sink      func([]byte)
	midline   bool // the last octets that came were not CR LF
	cr        bool // a CR came last, and what follows decides about it
	open      bool // the last octets that went to sink were not CR LF
	fault     fault
}

// feed decodes from p. It returns how much it used, which is all but two
// octets at most, and whether that ended the data.
func (d *decoder) feed(p []byte) (n int, end bool) {
	for n < len(p) {
		rest := p[n:]
		switch {
		case d.cr:
			n += d.afterCR(rest)
		case d.dots && !d.midline && rest[0] == '.':
			if len(rest) < 3 && bytes.HasPrefix([]byte(".\r\n"), rest) {
				return n, false
			}
			if bytes.HasPrefix(rest, []byte(".\r\n")) {
				return n + 3, true
			}
			d.midline = true
			n++
		default:
			n += d.line(rest)
		}
	}
	return n, false
}

// line decodes one line, or what there is of it.
func (d *decoder) line(p []byte) int {
	i := bytes.IndexByte(p, '\n')
	switch {
	case i < 0:
		return d.piece(p)
	case i == 0 || p[i-1] != '\r':
		d.text(p[:i])
		d.lone(bareLF)
		d.midline = true
	case bytes.IndexByte(p[:i-1], '\r') >= 0:
		d.text(p[:i-1])
		d.pass(crlf)
		d.midline = false
	default:
		d.pass(p[:i+1])
		d.midline = false
	}
	return i + 1
}

// piece decodes the beginning of a line whose end has not come yet.
func (d *decoder) piece(p []byte) int {
	text := bytes.TrimSuffix(p, crlf[:1])
	d.cr = len(text) < len(p)
	d.midline = true
	d.text(text)
	return len(p)
}

// afterCR decides about the CR that came last.
func (d *decoder) afterCR(p []byte) int {
	d.cr = false
	if p[0] == '\n' {
		d.pass(crlf)
		d.midline = false
		return 1
	}
	d.lone(bareCR)
	return 0
}

// text passes on octets without LF, and finds each CR in them.
func (d *decoder) text(p []byte) {
	for {
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			break
		}
		d.pass(p[:i])
		d.lone(bareCR)
		p = p[i+1:]
	}
	d.pass(p)
}

func (d *decoder) pass(p []byte) {
	if len(p) == 0 {
		return
	}
	if bytes.IndexByte(p, 0) >= 0 {
		d.note(nul)
	}
	d.open = p[len(p)-1] != '\n'
	d.sink(p)
}

// lone deals with a CR or LF that stands alone.
func (d *decoder) lone(f fault) {
	if d.normalize {
		d.pass(crlf)
		return
	}
	d.note(f)
}

func (d *decoder) note(f fault) {
	if d.fault == "" {
		d.fault = f
	}
}

// finish ends a message that came in chunks, whose last line may lack its end.
func (d *decoder) finish() {
	if d.cr {
		d.cr = false
		d.lone(bareCR)
	}
	if d.open {
		d.pass(crlf)
	}
}
