package smtpd

import "bytes"

// nameLength is how many octets of a line tell which field it is.
const nameLength = 16

// fields watches a header as it passes, line by line, and remembers only what
// is asked for: a header may be of any size.
type fields struct {
	done    bool // the header is over
	midline bool // what came last did not end a line
	held    []byte
	size    int64
	hops    int // Received fields
	date    bool
	id      bool
}

// pass looks at a piece of the message, as the decoder gives it, and returns
// what may go on now. over is true once, when the header ends before what is
// returned; broken says that it ended with a line that is no field.
func (f *fields) pass(p []byte) (out []byte, over, broken bool) {
	f.size += int64(len(p))
	if f.midline {
		f.midline = !endsLine(p)
		return p, false, false
	}
	if len(f.held) > 0 {
		p = append(f.held, p...)
		f.held = nil
	}
	if len(p) < nameLength && !endsLine(p) {
		f.held = append(f.held, p...)
		return nil, false, false
	}
	f.midline = !endsLine(p)
	return p, f.ends(p), f.done && len(p) != 2
}

func endsLine(p []byte) bool { return len(p) > 0 && p[len(p)-1] == '\n' }

// ends looks at the beginning of a line, and reports whether the header ends
// before it.
func (f *fields) ends(line []byte) bool {
	if line[0] == ' ' || line[0] == '\t' {
		return false // the field goes on
	}
	start := line[:min(len(line), nameLength)]
	name, _, found := bytes.Cut(start, []byte(":"))
	if !found && len(start) < nameLength || !isFieldName(name) {
		f.done = true
		return true
	}
	f.count(bytes.TrimRight(name, " \t"))
	return false
}

// isFieldName reports whether b can be a field name or its beginning; blanks
// before the colon are the obsolete syntax of RFC 5322 §4.5.
func isFieldName(b []byte) bool {
	b = bytes.TrimRight(b, " \t")
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(b) > 0
}

func (f *fields) count(name []byte) {
	switch {
	case bytes.EqualFold(name, []byte("Received")):
		f.hops++
	case bytes.EqualFold(name, []byte("Date")):
		f.date = true
	case bytes.EqualFold(name, []byte("Message-ID")):
		f.id = true
	}
}
