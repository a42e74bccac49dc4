package dsn

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"peyk/internal/envelope"
)

var update = flag.Bool("update", false, "write the golden files")

var at = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

const head = "Received: from x\r\n\tby y\r\nFrom: Ann <a@there.test>\r\nSubject: hello\r\n\r\nbody\r\n"

func golden() map[string]*Report {
	base := func(recipients ...Recipient) *Report {
		return &Report{Hostname: "mx.here.test", ID: "1k0ws1fwh0tfe78r2vhx6brg3amfd4g", Date: at.Add(time.Hour), Arrived: at,
			Envelope: &envelope.Envelope{ID: "1k0wq00000tfe78r2vhx6brg3amfd4g", Sender: "a@there.test"}, Header: []byte(head), Recipients: recipients}
	}
	failed := Recipient{Original: "rfc822;Bob@far.test", Final: "bob@far.test", Action: Failed, Status: "5.1.1", RemoteMTA: "mx.far.test",
		Diagnostic: "550 5.1.1 no such user: this reply goes on for so long that it has to be folded, and then a bit more", Last: at.Add(time.Minute)}
	withEnvID := base(failed, Recipient{Final: "carl@far.test", Action: Failed, Status: "4.2.0", Diagnostic: "no answer within five days"})
	withEnvID.Envelope.EnvID = "QQ 314"
	whole := base(failed)
	whole.Full = strings.NewReader(head)
	utf := base(Recipient{Original: "utf-8;جعفر@far.test", Final: "جعفر@far.test", Action: Failed, Status: "5.1.1", Diagnostic: "550 5.1.1 کسی نیست"})
	utf.Envelope.SMTPUTF8 = true
	ascii := base(Recipient{Original: "utf-8;جعفر@far.test", Final: "جعفر@far.test", Action: Failed, Status: "5.1.1", Diagnostic: "550 5.1.1 کسی نیست"})
	hostile := base(Recipient{Original: "x y\r\nEvil: 1;a@b\r\nEvil: 2", Final: "a@b\r\nEvil: 3", Action: Failed, Status: "5.1.1\r\nEvil: 4", RemoteMTA: "h\r\nEvil: 5",
		Diagnostic: "550\r\n\r\n--=_1k0ws1fwh0tfe78r2vhx6brg3amfd4g--\r\nEvil: 6\x00\x1b[2J\xff\u202e " + strings.Repeat("w", 3000)})
	hostile.Envelope.EnvID, hostile.Envelope.Sender = "x\r\nEvil: 7", "a@b>\r\nEvil: 8"
	hostile.Header = []byte("Subject: x\rEvil: 9\x00\nlone\n" + strings.Repeat("l", 5000) + "\r\n\r\n")
	return map[string]*Report{
		"failed":    withEnvID,
		"full":      whole,
		"delayed":   base(Recipient{Final: "bob@far.test", Action: Delayed, Status: "4.4.1", Diagnostic: "450 4.4.1 no answer", Last: at, RetryUntil: at.Add(120 * time.Hour)}),
		"delivered": base(Recipient{Final: "b@here.test", Action: Delivered, Status: "2.1.5"}, Recipient{Final: "c@far.test", Action: Relayed, Status: "2.0.0"}, Recipient{Final: "l@here.test", Action: Expanded, Status: "2.0.0"}),
		"utf8":      utf,
		"ascii":     ascii,
		"hostile":   hostile,
	}
}

func TestGolden(t *testing.T) {
	for name, r := range golden() {
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name+".eml")
		if *update {
			os.WriteFile(path, b.Bytes(), 0o644)
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s: got\n%s", name, b.Bytes())
		}
		checkWire(t, name, r, b.Bytes())
		if _, err := Read(&b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// checkWire holds a report to what every mail on the wire must be.
func checkWire(t *testing.T, name string, r *Report, b []byte) {
	t.Helper()
	if bytes.Contains(b, []byte("\nEvil:")) {
		t.Errorf("%s: an injected field", name)
	}
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\r\n")) || bytes.ContainsAny(line[:len(line)-2], "\r\n\x00\x1b") || len(line) > 1000 {
			t.Errorf("%s: line %q", name, line)
		}
	}
	if r.Body() == "" && bytes.ContainsFunc(b, func(c rune) bool { return c >= utf8.RuneSelf }) {
		t.Errorf("%s: 8-bit octets in a 7-bit report", name)
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if !r.UTF8() && bytes.ContainsFunc(b[:end], func(c rune) bool { return c >= utf8.RuneSelf }) {
		t.Errorf("%s: 8-bit octets in the header", name)
	}
}

func TestReadSaysWhatWasWritten(t *testing.T) {
	r := golden()["failed"]
	var b bytes.Buffer
	r.Write(&b)
	n, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	want := &Notification{ReportingMTA: "mx.here.test", EnvelopeID: "QQ 314", QueueID: r.Envelope.ID, Arrived: at, Recipients: []Recipient{
		r.Recipients[0],
		{Final: "carl@far.test", Action: Failed, Status: "5.2.0", Diagnostic: "no answer within five days"},
	}}
	for i := range n.Recipients {
		n.Recipients[i].Last = n.Recipients[i].Last.UTC()
		if n.Recipients[i].Last.IsZero() {
			n.Recipients[i].Last = time.Time{}
		}
	}
	n.Arrived = n.Arrived.UTC()
	if !reflect.DeepEqual(n, want) {
		t.Errorf("got  %+v\nwant %+v", n, want)
	}
}

func TestReadRefuses(t *testing.T) {
	good := new(bytes.Buffer)
	golden()["delayed"].Write(good)
	for name, spoil := range map[string][2]string{
		"no report type":     {"report-type=delivery-status;", ""},
		"other type":         {"multipart/report", "multipart/mixed"},
		"no reporting host":  {"Reporting-MTA:", "X:"},
		"no final recipient": {"Final-Recipient:", "X:"},
		"bad action":         {"Action: delayed", "Action: eaten"},
		"bad status":         {"Status: 4.4.1", "Status: 4"},
		"no status part":     {"message/delivery-status", "text/plain"},
	} {
		bad := strings.Replace(good.String(), spoil[0], spoil[1], 1)
		if _, err := Read(strings.NewReader(bad)); !errors.Is(err, ErrNotReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := 0; n < good.Len(); n += 7 {
		Read(bytes.NewReader(good.Bytes()[:n])) // must only not panic
	}
}

func TestWriteReportsErrorsOfBoth(t *testing.T) {
	r := golden()["full"]
	r.Full = failing{}
	if err := r.Write(io.Discard); err != io.ErrUnexpectedEOF {
		t.Errorf("%v", err)
	}
	if err := r.Write(failing{}); err != io.ErrUnexpectedEOF {
		t.Errorf("%v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, io.ErrUnexpectedEOF }
func (failing) Write([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// FuzzWriteRead: whatever others put into a report, it is clean mail that
// reads back as one recipient with the same status.
func FuzzWriteRead(f *testing.F) {
	f.Add("a@b", "rfc822;x", "c@d", "5.1.1", "mx", "550 no\r\nEvil: 1", "env", []byte(head), true)
	f.Add("a@ب", "utf-8;ب", "ب@d", "5", "", "", "", []byte("\r\n\r\n"), false)
	f.Fuzz(func(t *testing.T, sender, original, final, status, mta, diagnostic, envID string, header []byte, utf bool) {
		r := &Report{Hostname: "mx.here.test", ID: "1k0ws1fwh0tfe78r2vhx6brg3amfd4g", Date: at, Arrived: at, Header: header,
			Envelope:   &envelope.Envelope{ID: "x", Sender: sender, EnvID: envID, SMTPUTF8: utf},
			Recipients: []Recipient{{Original: original, Final: "x" + final, Action: Failed, Status: status, RemoteMTA: mta, Diagnostic: diagnostic, Last: at}}}
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		if len(header) == 0 || !bytes.Contains(header, []byte("Evil:")) {
			checkWire(t, "fuzz", r, b.Bytes())
		}
		if m, err := mail.ReadMessage(bytes.NewReader(b.Bytes())); err != nil || len(m.Header) != 9 {
			t.Fatalf("%v\n%s", err, b.Bytes())
		}
		n, err := Read(&b)
		if err != nil || len(n.Recipients) != 1 || n.Recipients[0].Status != r.Recipients[0].status() {
			t.Fatalf("%+v, %v", n, err)
		}
	})
}

func FuzzRead(f *testing.F) {
	for _, r := range golden() {
		var b bytes.Buffer
		r.Write(&b)
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := Read(bytes.NewReader(data)); err == nil && len(n.Recipients) == 0 {
			t.Fatal("a report about nobody")
		}
	})
}
