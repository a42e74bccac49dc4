package dsn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"time"
)

// Notification is what a report says to programs.
type Notification struct {
	ReportingMTA string // without its type
	EnvelopeID   string
	QueueID      string // X-Peyk-Queue-Id
	Arrived      time.Time
	Recipients   []Recipient
}

// maxStatus is the longest message/delivery-status that is read, in octets.
const maxStatus = 16 << 20

// ErrNotReport is a message that is no delivery status notification.
var ErrNotReport = errors.New("cannot read report: it is not a delivery status notification")

// Read reads a report. It holds it to RFC 3462 and RFC 3464: an error says
// what is wrong.
func Read(r io.Reader) (*Notification, error) {
	msg, err := mail.ReadMessage(bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReport, err)
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || !strings.HasSuffix(params["report-type"], "delivery-status") {
		return nil, ErrNotReport
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	if _, err := parts.NextRawPart(); err != nil { // RFC 3462 §2: the first part is for people
		return nil, fmt.Errorf("%w: %w", ErrNotReport, err)
	}
	p, err := parts.NextRawPart()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReport, err)
	}
	kind, _, _ = mime.ParseMediaType(p.Header.Get("Content-Type"))
	if kind != "message/delivery-status" && kind != "message/global-delivery-status" {
		return nil, ErrNotReport
	}
	return readStatus(textproto.NewReader(bufio.NewReader(io.LimitReader(p, maxStatus))))
}

// readStatus reads blocks of fields that blank lines separate.
func readStatus(r *textproto.Reader) (*Notification, error) {
	h, err := r.ReadMIMEHeader()
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("%w: %w", ErrNotReport, err)
	}
	n := &Notification{EnvelopeID: h.Get("Original-Envelope-Id"), QueueID: h.Get("X-Peyk-Queue-Id")}
	if n.ReportingMTA = afterType(h.Get("Reporting-MTA")); n.ReportingMTA == "" {
		return nil, fmt.Errorf("%w: Reporting-MTA is missing", ErrNotReport)
	}
	n.Arrived, _ = mail.ParseDate(h.Get("Arrival-Date"))
	for err == nil {
		h, err = r.ReadMIMEHeader()
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("%w: %w", ErrNotReport, err)
		}
		if len(h) == 0 {
			continue
		}
		rcpt, rerr := readRecipient(h)
		if rerr != nil {
			return nil, rerr
		}
		n.Recipients = append(n.Recipients, rcpt)
	}
	if len(n.Recipients) == 0 {
		return nil, fmt.Errorf("%w: it is about nobody", ErrNotReport)
	}
	return n, nil
}

func readRecipient(h textproto.MIMEHeader) (Recipient, error) {
	rcpt := Recipient{
		Final:      afterType(h.Get("Final-Recipient")),
		Action:     strings.ToLower(h.Get("Action")),
		Status:     h.Get("Status"),
		RemoteMTA:  afterType(h.Get("Remote-MTA")),
		Diagnostic: afterType(h.Get("Diagnostic-Code")),
	}
	if kind, addr, ok := strings.Cut(h.Get("Original-Recipient"), ";"); ok {
		rcpt.Original = kind + ";" + strings.TrimSpace(addr)
	}
	rcpt.Last, _ = mail.ParseDate(h.Get("Last-Attempt-Date"))
	rcpt.RetryUntil, _ = mail.ParseDate(h.Get("Will-Retry-Until"))
	switch rcpt.Action {
	case Failed, Delayed, Delivered, Relayed, Expanded:
	default:
		return rcpt, fmt.Errorf("%w: Action is %q", ErrNotReport, rcpt.Action)
	}
	if rcpt.Final == "" || !wellFormed(rcpt.Status) {
		return rcpt, fmt.Errorf("%w: Final-Recipient or Status is missing", ErrNotReport)
	}
	return rcpt, nil
}

// afterType returns the value of a field that begins with a type and a
// semicolon.
func afterType(s string) string {
	_, value, _ := strings.Cut(s, ";")
	return strings.TrimSpace(value)
}
