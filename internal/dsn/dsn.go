// Package dsn writes and reads delivery status notifications: the
// multipart/report of RFC 3462 with the message/delivery-status of RFC 3464,
// as RFC 3461 asks for them, and RFC 6533 for internationalised mail. A report
// is a pure function of an envelope, what became of its recipients, and the
// message.
package dsn

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"peyk/internal/envelope"
	"peyk/internal/header"
)

// The values of Action (RFC 3464 §2.3.3).
const (
	Failed    = "failed"
	Delayed   = "delayed"
	Delivered = "delivered"
	Relayed   = "relayed"
	Expanded  = "expanded"
)

const (
	maxHeader = 64 << 10 // octets of the original header that are returned
	maxLine   = 998      // RFC 5322 §2.1.1
	foldAt    = 76
)

// Report is one notification about one message.
type Report struct {
	Hostname   string             // of the reporting host
	ID         string             // queue id of the report itself
	Date       time.Time          // when it is made
	Envelope   *envelope.Envelope // of the message it is about; its Sender is who gets the report
	Arrived    time.Time          // when that message arrived
	Recipients []Recipient        // whom it is about, at least one
	Header     []byte             // the message's header section, or more of the message
	Full       io.Reader          // the whole message if it is to be returned, else nil
}

// Recipient is what became of one recipient.
type Recipient struct {
	Original   string    // as given in ORCPT, decoded, such as "rfc822;a@example.org"; "" if unknown
	Final      string    // the address that was tried, wire form
	Action     string    // one of the constants
	Status     string    // such as "5.1.1" (RFC 3463)
	RemoteMTA  string    // host that gave the reply; "" if it was this one
	Diagnostic string    // its reply, or what went wrong; any bytes
	Last       time.Time // last attempt
	RetryUntil time.Time // end of the attempts, for delayed
}

// UTF8 reports whether the report needs SMTPUTF8 on its way (RFC 6533 §4): the
// message had it, and so can its sender read it.
func (r *Report) UTF8() bool {
	if !r.Envelope.SMTPUTF8 {
		return false
	}
	eightBit := !ascii(r.Envelope.Sender) || !ascii(string(r.section()))
	return eightBit || slices.ContainsFunc(r.Recipients, func(rcpt Recipient) bool {
		return !ascii(rcpt.Final) || !ascii(rcpt.Original)
	})
}

// Body returns the body type of the report: "" or "8BITMIME".
func (r *Report) Body() string {
	if r.Full != nil || r.UTF8() || !ascii(string(r.section())) {
		return "8BITMIME"
	}
	return ""
}

// Write writes the report in wire form. The only errors are those of w and
// of r.Full.
func (r *Report) Write(w io.Writer) error {
	if _, err := w.Write(r.append(nil)); err != nil {
		return err
	}
	if r.Full != nil {
		if _, err := io.Copy(w, r.Full); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "\r\n--"+r.boundary()+"--\r\n")
	return err
}

func (r *Report) boundary() string { return "=_" + r.ID }

// append appends everything up to the message that may follow.
func (r *Report) append(b []byte) []byte {
	b = r.appendHeader(b)
	b = r.part(b, "text/plain; charset=utf-8", "Notification")
	b = r.appendText(b)
	kind := "message/delivery-status"
	if r.UTF8() {
		kind = "message/global-delivery-status" // RFC 6533 §5
	}
	b = r.part(b, kind, "Delivery report")
	b = r.appendStatus(b)
	if r.Full != nil {
		return r.part(b, r.global("message/rfc822", "message/global"), "Undelivered message")
	}
	b = r.part(b, r.global("text/rfc822-headers", "message/global-headers"), "Header of the message")
	return append(b, r.section()...)
}

func (r *Report) global(plain, utf8 string) string {
	if r.UTF8() {
		return utf8
	}
	return plain
}

func (r *Report) part(b []byte, kind, description string) []byte {
	b = fmt.Appendf(b, "\r\n--%s\r\nContent-Type: %s\r\nContent-Description: %s\r\n", r.boundary(), kind, description)
	if r.Body() != "" {
		b = append(b, "Content-Transfer-Encoding: 8bit\r\n"...)
	}
	return append(b, "\r\n"...)
}

func (r *Report) appendHeader(b []byte) []byte {
	b = header.Received{By: r.Hostname, ID: r.ID, Date: r.Date}.Append(b)
	b = fmt.Appendf(b, "Date: %s\r\n", date(r.Date))
	b = fmt.Appendf(b, "From: Mail Delivery System <mailer-daemon@%s>\r\n", header.Token(r.Hostname))
	b = fmt.Appendf(b, "To: <%s>\r\n", printable(r.Envelope.Sender, r.UTF8()))
	b = fmt.Appendf(b, "Subject: %s\r\n", r.subject())
	b = fmt.Appendf(b, "Message-ID: <%s@%s>\r\n", r.ID, header.Token(r.Hostname))
	b = append(b, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"...) // RFC 3834 §5
	return fmt.Appendf(b, "Content-Type: multipart/report; report-type=%s;\r\n\tboundary=\"%s\"\r\n\r\n"+
		"This is a report about mail, in MIME format.\r\n", r.global("delivery-status", "global-delivery-status"), r.boundary())
}

func (r *Report) has(action string) bool {
	return slices.ContainsFunc(r.Recipients, func(rcpt Recipient) bool { return rcpt.Action == action })
}

func (r *Report) subject() string {
	switch {
	case r.has(Failed):
		return "Undelivered mail returned to sender"
	case r.has(Delayed):
		return "Mail is delayed"
	}
	return "Mail was delivered"
}

// appendText says for people what appendStatus says for programs.
func (r *Report) appendText(b []byte) []byte {
	b = fmt.Appendf(b, "This is the mail system at %s.\r\n", header.Token(r.Hostname))
	for _, kind := range []struct{ action, text string }{
		{Failed, "Your message could not be delivered to these recipients, and will not be tried again:"},
		{Delayed, "Your message could not be delivered yet. You need not send it again: it will be tried further."},
		{Delivered, "Your message was delivered, as you asked to be told:"},
		{Relayed, "Your message was passed on to a host that will send no further reports:"},
		{Expanded, "Your message was passed on to the members of a list:"},
	} {
		if !r.has(kind.action) {
			continue
		}
		b = append(b, "\r\n"+kind.text+"\r\n"...)
		for i := range r.Recipients {
			if rcpt := &r.Recipients[i]; rcpt.Action == kind.action {
				b = rcpt.appendText(b, r.UTF8())
			}
		}
	}
	return b
}

func (rcpt *Recipient) appendText(b []byte, utf8 bool) []byte {
	b = append(b, "\r\n<"...)
	b = append(b, printable(rcpt.Final, utf8)...)
	b = append(b, '>')
	if rcpt.Diagnostic != "" {
		b = append(b, ":\r\n"...)
		b = folded(b, "   ", printable(rcpt.Diagnostic, utf8), "   ")
	} else {
		b = append(b, "\r\n"...)
	}
	if !rcpt.RetryUntil.IsZero() {
		b = fmt.Appendf(b, "    It will be tried until %s.\r\n", date(rcpt.RetryUntil))
	}
	return b
}

// appendStatus appends the fields of RFC 3464 §2.2 and §2.3.
func (r *Report) appendStatus(b []byte) []byte {
	utf8 := r.UTF8()
	b = fmt.Appendf(b, "Reporting-MTA: dns; %s\r\n", header.Token(r.Hostname))
	if r.Envelope.EnvID != "" {
		b = folded(b, "Original-Envelope-Id: ", printable(r.Envelope.EnvID, utf8), "")
	}
	b = fmt.Appendf(b, "X-Peyk-Queue-Id: %s\r\n", header.Token(r.Envelope.ID))
	b = fmt.Appendf(b, "Arrival-Date: %s\r\n", date(r.Arrived))
	for i := range r.Recipients {
		b = append(b, "\r\n"...)
		b = r.Recipients[i].appendStatus(b, utf8)
	}
	return b
}

func (rcpt *Recipient) appendStatus(b []byte, utf8 bool) []byte {
	if kind, addr, ok := strings.Cut(rcpt.Original, ";"); ok {
		b = fmt.Appendf(b, "Original-Recipient: %s\r\n", typed(header.Token(kind), addr, utf8))
	}
	b = fmt.Appendf(b, "Final-Recipient: %s\r\n", typed("rfc822", rcpt.Final, utf8))
	b = fmt.Appendf(b, "Action: %s\r\nStatus: %s\r\n", rcpt.Action, rcpt.status())
	if rcpt.RemoteMTA != "" {
		b = fmt.Appendf(b, "Remote-MTA: dns; %s\r\n", header.Token(rcpt.RemoteMTA))
	}
	if text := printable(rcpt.Diagnostic, utf8); text != "" {
		b = folded(b, "Diagnostic-Code: ", diagnosticType(text)+"; "+text, "")
	}
	if !rcpt.Last.IsZero() {
		b = fmt.Appendf(b, "Last-Attempt-Date: %s\r\n", date(rcpt.Last))
	}
	if !rcpt.RetryUntil.IsZero() {
		b = fmt.Appendf(b, "Will-Retry-Until: %s\r\n", date(rcpt.RetryUntil))
	}
	return b
}

// status returns a status code of the class that the action needs, whatever
// the other side made up (RFC 3463 §2).
func (rcpt *Recipient) status() string {
	class := map[string]string{Failed: "5", Delayed: "4"}[rcpt.Action]
	if class == "" {
		class = "2"
	}
	if !wellFormed(rcpt.Status) {
		return class + ".0.0"
	}
	return class + rcpt.Status[1:]
}

func wellFormed(code string) bool {
	parts := strings.Split(code, ".")
	if len(parts) != 3 || len(parts[0]) != 1 {
		return false
	}
	return !slices.ContainsFunc(parts, func(p string) bool {
		return p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != ""
	})
}

// diagnosticType tells a reply of SMTP from a text of our own.
func diagnosticType(text string) string {
	if len(text) > 3 && strings.Trim(text[:3], "0123456789") == "" && (text[3] == ' ' || text[3] == '-') {
		return "smtp"
	}
	return "x-peyk"
}

// typed returns an address with its type. Where the report must be ASCII, an
// internationalised address is written in escapes (RFC 6533 §3).
func typed(kind, addr string, utf8 bool) string {
	if ascii(addr) {
		return kind + "; " + printable(addr, utf8)
	}
	if utf8 {
		return "utf-8; " + printable(addr, true)
	}
	var b strings.Builder
	for _, c := range addr {
		if c > ' ' && c < 0x7f && c != '\\' && c != '+' && c != '=' {
			b.WriteRune(c)
			continue
		}
		fmt.Fprintf(&b, `\x{%X}`, c)
	}
	return "utf-8; " + b.String()
}

func date(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000") }

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// section returns the header section of the message as lines that any field
// can hold: other hosts wrote it.
func (r *Report) section() []byte {
	data := r.Header[:min(len(r.Header), maxHeader)]
	if end := bytes.Index(data, []byte("\r\n\r\n")); end >= 0 {
		data = data[:end+2]
	}
	var b []byte
	for line := range bytes.Lines(data) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > maxLine {
			line = line[:maxLine]
		}
		for _, c := range line {
			if c < ' ' && c != '\t' || c == 0x7f {
				c = '?'
			}
			b = append(b, c)
		}
		b = append(b, "\r\n"...)
	}
	return b
}
