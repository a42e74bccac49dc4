package sendmail

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"strconv"
	"strings"
	"time"

	"peyk/internal/address"
	"peyk/internal/envelope"
	"peyk/internal/header"
	"peyk/internal/spool"
	"peyk/internal/status"
)

const (
	maxHeader = 1 << 20 // octets of a header
	maxSniff  = 1 << 20 // octets of a body that are searched for 8-bit ones
)

// Errors of a message.
var (
	errHeader = status.New(554, "5.6.0", "message header is too large")
	errLoop   = status.New(554, "5.4.6", "message has too many Received fields: it is in a loop")
)

// job is one message to queue.
type job struct {
	p          *program
	from       address.Address // envelope sender, zero = null
	author     address.Address // for a From field that is missing
	fullName   string
	recipients []address.Address
	fromHeader bool // add those that the header names
	body       string
	smtputf8   bool
	notify     []string
	ret, envID string

	id     string
	fields []header.Field // that are kept
	prefix []byte         // beginning of the body that was read with the header
}

// queue reads a message in wire form to its end and makes it durable in the
// drop. It returns the queue id.
func (j *job) queue(message io.Reader) (string, error) {
	var err error
	if j.id, err = spool.NewID(j.p.Now(), j.p.Rand); err != nil {
		return "", err
	}
	if err := j.p.drop().Room(0); err != nil {
		return "", err
	}
	r := bufio.NewReaderSize(message, 32<<10)
	if err := j.readHeader(r); err != nil {
		return "", err
	}
	if len(j.recipients) == 0 {
		return "", errNobody
	}
	sniff, err := io.ReadAll(io.LimitReader(r, maxSniff))
	if err != nil {
		return "", err
	}
	head := j.header()
	w, err := j.p.drop().Create(j.envelope(head, sniff))
	if err != nil {
		return "", err
	}
	if err := j.write(w, head, sniff, r); err != nil {
		w.Abort()
		return "", err
	}
	return j.id, w.Commit()
}

func (j *job) write(w *spool.Writer, head, sniff []byte, rest io.Reader) error {
	for _, part := range [][]byte{head, j.prefix, sniff} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	limit := j.p.maxSize()
	if _, err := io.Copy(w, io.LimitReader(rest, max(limit-w.Size(), 0)+1)); err != nil {
		return err
	}
	if w.Size() > limit {
		return status.Newf(552, "5.3.4", "message is larger than %d octets", limit)
	}
	return nil
}

// readHeader reads the header, takes the recipients from it where that is
// wanted, and keeps the fields that may be seen by all.
func (j *job) readHeader(r *bufio.Reader) error {
	h, err := header.Read(r, maxHeader)
	if err != nil {
		return err
	}
	if h.Truncated() {
		return errHeader
	}
	j.split(h)
	if j.count("Received") > j.p.hopLimit() { // RFC 5321 §6.3
		return errLoop
	}
	if j.fromHeader {
		if err := j.addRecipients(); err != nil {
			return err
		}
	}
	j.recipients = unique(j.recipients)
	j.drop("Bcc", "Resent-Bcc", "Return-Path")
	return nil
}

// split separates fields from what only came before the first blank line: a
// message may lack a header, and its first line is no field then. The "From "
// line of mailbox files is left out.
func (j *job) split(h *header.Header) {
	fields := h.Fields()
	if len(fields) > 0 && mboxLine(fields[0].Raw) {
		fields = fields[1:]
	}
	n := 0
	for n < len(fields) && validName(fields[n].Name()) {
		n++
	}
	j.fields = fields[:n:n]
	for _, f := range fields[n:] {
		j.prefix = append(j.prefix, f.Raw...)
	}
	if n < len(fields) && h.Complete() {
		j.prefix = append(j.prefix, '\r', '\n')
	}
}

func mboxLine(line []byte) bool {
	return bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))
}

// validName checks a field name (RFC 5322 §3.6.8).
func validName(name string) bool {
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] > '~' {
			return false
		}
	}
	return name != ""
}

func (j *job) count(name string) int {
	n := 0
	for _, f := range j.fields {
		if f.Is(name) {
			n++
		}
	}
	return n
}

func (j *job) drop(names ...string) {
	kept := j.fields[:0]
	for _, f := range j.fields {
		if !isOneOf(f, names) {
			kept = append(kept, f)
		}
	}
	j.fields = kept
}

func isOneOf(f header.Field, names []string) bool {
	for _, name := range names {
		if f.Is(name) {
			return true
		}
	}
	return false
}

// addRecipients obeys -t. A message that is sent on is for those of its
// Resent- fields (RFC 5322 §3.6.6).
func (j *job) addRecipients() error {
	names := []string{"To", "Cc", "Bcc"}
	if j.count("Resent-To")+j.count("Resent-Cc")+j.count("Resent-Bcc") > 0 {
		names = []string{"Resent-To", "Resent-Cc", "Resent-Bcc"}
	}
	for _, f := range j.fields {
		if !isOneOf(f, names) {
			continue
		}
		list, err := mailboxes(f.Value(), j.p.domain())
		if err != nil {
			return status.New(553, "5.1.3", err.Error())
		}
		j.recipients = append(j.recipients, list...)
		if len(j.recipients) > maxRecipients {
			return status.New(553, "5.5.3", errTooMany.Error())
		}
	}
	return nil
}

func unique(list []address.Address) []address.Address {
	seen := make(map[address.Address]bool, len(list))
	kept := list[:0:0]
	for _, a := range list {
		if !seen[a] {
			seen[a] = true
			kept = append(kept, a)
		}
	}
	return kept
}

// header returns the header to queue, with its blank line: our trace field,
// what was missing (RFC 6409 §8), and what came.
func (j *job) header() []byte {
	now := j.p.Now()
	stamp := now.Format("Mon, 02 Jan 2006 15:04:05 -0700")
	host := header.Token(j.p.hostname())
	out := fmt.Appendf(nil, "Received: by %s (Peyk, from userid %d)\r\n\tid %s; %s\r\n", host, j.p.UID, j.id, stamp)
	if j.count("Message-ID") == 0 {
		out = fmt.Appendf(out, "Message-ID: <%s@%s>\r\n", j.id, host)
	}
	if j.count("Date") == 0 {
		out = fmt.Appendf(out, "Date: %s\r\n", stamp)
	}
	if j.count("From") == 0 {
		out = append(out, j.fromField()...)
	}
	for _, f := range j.fields {
		out = append(out, f.Raw...)
	}
	if !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, '\r', '\n')
	}
	return append(out, '\r', '\n')
}

func (j *job) fromField() string {
	name := phrase(j.fullName)
	if name == "" {
		return "From: " + j.author.String() + "\r\n"
	}
	return "From: " + name + " <" + j.author.String() + ">\r\n"
}

// phrase returns a display name as a header may hold it (RFC 5322 §3.2.5,
// RFC 2047); whatever it holds, it stays inside its field.
func phrase(name string) string {
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, name))
	if name == "" {
		return ""
	}
	if encoded := mime.QEncoding.Encode("utf-8", strings.ToValidUTF8(name, "?")); strings.HasPrefix(encoded, "=?") {
		return encoded
	}
	if strings.ContainsAny(name, `()<>[]:;@\,."`) || strings.Contains(name, "=?") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name
}

// envelope says what the message needs. A body of which not all was seen may
// hold 8-bit octets: to say so is allowed for one that does not.
func (j *job) envelope(head, sniff []byte) *envelope.Envelope {
	e := &envelope.Envelope{
		ID: j.id, Client: envelope.Client{Login: j.p.User}, Sender: j.from.String(), Body: j.body,
		SMTPUTF8: j.smtputf8 || !j.from.IsASCII(), Ret: j.ret, EnvID: j.envID,
	}
	if e.Body == "" && (len(sniff) == maxSniff || eightBit(head) || eightBit(j.prefix) || eightBit(sniff)) {
		e.Body = "8BITMIME"
	}
	for _, a := range j.recipients {
		e.SMTPUTF8 = e.SMTPUTF8 || !a.IsASCII()
		e.Recipients = append(e.Recipients, envelope.Recipient{Address: a.String(), Notify: j.notify})
	}
	return e
}

func eightBit(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// notify reads the argument of -N.
func notify(arg string) ([]string, error) {
	if arg == "" {
		return nil, nil
	}
	words := strings.Split(arg, ",")
	for i, w := range words {
		words[i] = strings.TrimSpace(w)
	}
	test := envelope.Envelope{Recipients: []envelope.Recipient{{Address: "a@b", Notify: words}}}
	if test.Check() != nil {
		return nil, errors.New("option -N must be never, or some of success, failure and delay, separated by commas")
	}
	return words, nil
}

// arrival formats a time as mailq always has.
func arrival(t time.Time) string { return t.Local().Format("Mon Jan _2 15:04:05") }

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}
