package smtpd

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
)

// scripted is a connection whose client says everything at once, in pieces,
// and goes away.
type scripted struct {
	in    io.Reader
	piece int
	out   bytes.Buffer
}

func (s *scripted) Read(p []byte) (int, error) {
	return s.in.Read(p[:min(len(p), s.piece)])
}
func (s *scripted) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *scripted) Close() error                     { return nil }
func (s *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }
func (s *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1025} }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// once is a listener with a single connection.
type once struct{ conn chan net.Conn }

func (o once) Accept() (net.Conn, error) {
	if c, ok := <-o.conn; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (o once) Close() error   { return nil }
func (o once) Addr() net.Addr { return &net.TCPAddr{} }

// talk runs one session and returns what the server said.
func (l *lab) talk(s Service, input []byte, piece int) string {
	return l.talkFrom(s, bytes.NewReader(input), piece)
}

func (l *lab) talkFrom(s Service, input io.Reader, piece int) string {
	c := &scripted{in: input, piece: piece}
	o := once{make(chan net.Conn, 1)}
	o.conn <- guardconn.NewConn(c, guardconn.Options{})
	close(o.conn)
	l.server.Serve(o, s)
	return c.out.String()
}

// quiet is a lab without listeners.
func quiet(t testing.TB, p Policy) *lab {
	l := &lab{t: t, queue: &memory{}}
	log := eventlog.New(l, "smtpd", eventlog.Logfmt, time.Now)
	l.server = New(Options{Hostname: "mx.local.test", Directory: people{}, Auth: logins{}, Queue: l.queue, TLS: certificate(),
		Log: log, Now: fixed, Rand: zeros{}}, &p)
	return l
}

func fixed() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func lenient() Policy {
	return Policy{Recipients: 100, Rejected: 100, Errors: 20, AuthFailures: 3, CommandTimeout: time.Minute, CommandLine: 4096,
		DataTimeout: time.Minute, MessageSize: 1 << 20, HeaderSize: 1 << 16, Hops: 50}
}

const opening = "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@local.test>\r\nDATA\r\n"

func TestTrace(t *testing.T) {
	l := quiet(t, lenient())
	l.talk(MX, []byte(opening+"Subject: x\r\n\r\nhello\r\n.\r\n"), 4096)
	want := "Received: from c.example (unknown [192.0.2.7]) by mx.local.test (Peyk)\r\n\twith ESMTP id q1 for <alice@local.test>; Sun, 22 Nov 2026 10:00:00 +0000\r\n" +
		"Subject: x\r\n\r\nhello\r\n"
	got := l.queue.all()
	if len(got) != 1 || got[0].content != want {
		t.Fatalf("got  %+v\nwant %q", got, want)
	}
	c := got[0].envelope.Client
	if c.Addr != "192.0.2.7" || c.Helo != "c.example" || c.Proto != "ESMTP" || c.Login != "" {
		t.Fatalf("client %+v", c)
	}
}

func TestEnvelopeCarriesParameters(t *testing.T) {
	l := quiet(t, lenient())
	l.talk(MX, []byte("EHLO c\r\nMAIL FROM:<\"a b\"@B.example> BODY=8BITMIME SMTPUTF8 RET=hdrs ENVID=Q+2B1 SIZE=5\r\n"+
		"RCPT TO:<@relay.example:\"alice\"@Local.Test> NOTIFY=success,delay ORCPT=rfc822;x+2By@z.example\r\nRCPT TO:<postmaster>\r\nBDAT 6 LAST\r\nx: \xc3\xbc\n"), 7)
	if n := len(l.queue.all()); n != 0 {
		t.Fatalf("%d messages with a bare LF", n)
	}
	out := l.talk(MX, []byte("EHLO c\r\nMAIL FROM:<\"a b\"@B.example> BODY=8BITMIME SMTPUTF8 RET=hdrs ENVID=Q+2B1 SIZE=5\r\n"+
		"RCPT TO:<@relay.example:\"alice\"@Local.Test> NOTIFY=success,delay ORCPT=rfc822;x+2By@z.example\r\nRCPT TO:<postmaster>\r\nBDAT 5 LAST\r\nx: \xc3\xbc"), 7)
	got := l.queue.all()
	if len(got) != 1 {
		t.Fatalf("no message:\n%s", out)
	}
	e := got[0].envelope
	if e.Sender != `"a b"@b.example` || e.Body != "8BITMIME" || !e.SMTPUTF8 || e.Ret != "HDRS" || e.EnvID != "Q+1" || e.Client.Proto != "UTF8SMTP" {
		t.Errorf("envelope %+v", e)
	}
	r := e.Recipients
	if len(r) != 2 || r[0].Address != "alice@local.test" || fmt.Sprint(r[0].Notify) != "[SUCCESS DELAY]" || r[0].ORcpt != "rfc822;x+y@z.example" || r[1].Address != "postmaster@local.test" {
		t.Errorf("recipients %+v", r)
	}
	if !strings.HasSuffix(got[0].content, "\r\nx: \xc3\xbc\r\n") || strings.Contains(got[0].content, "for <") {
		t.Errorf("content %q", got[0].content)
	}
}

func TestSubmissionIsCompleted(t *testing.T) {
	const date, id = "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n", "Message-ID: <q1@mx.local.test>\r\n"
	for in, want := range map[string]string{
		"Subject: x\r\n\r\nhi\r\n":               "Subject: x\r\n" + date + id + "\r\nhi\r\n",
		"Date: now\r\nSubject: x\r\n\r\nhi\r\n":  "Date: now\r\nSubject: x\r\n" + id + "\r\nhi\r\n",
		"message-id : <y>\r\n\r\nDate: x\r\n":    "message-id : <y>\r\n" + date + "\r\nDate: x\r\n",
		"Subject: x\r\n":                         "Subject: x\r\n" + date + id,
		"":                                       date + id,
		"hello you\r\n":                          date + id + "\r\nhello you\r\n",
		"S: a\r\n b\r\n\tDate: c\r\n\r\n":        "S: a\r\n b\r\n\tDate: c\r\n" + date + id + "\r\n",
		"A-Very-Long-Field-Name: x\r\n\r\nb\r\n": "A-Very-Long-Field-Name: x\r\n" + date + id + "\r\nb\r\n",
	} {
		for _, piece := range []int{1, 3, 4096} {
			l := quiet(t, lenient())
			l.talk(Submit, []byte(opening+in+".\r\n"), piece)
			got := l.queue.all()
			if len(got) != 1 {
				t.Fatalf("%q was not accepted", in)
			}
			content := got[0].content
			_, after, _ := strings.Cut(content, "+0000\r\n")
			if after != want {
				t.Errorf("%q in pieces of %d became %q, want %q", in, piece, after, want)
			}
		}
	}
}

func TestMXAddsOnlyTrace(t *testing.T) {
	for _, in := range []string{"", "hello\r\n", "\r\n", "From x y\r\nbroken\r\n\r\n", strings.Repeat("x", 300000) + "\r\n", "a: b\r\n" + strings.Repeat("Y", 70000) + "\r\n\r\n\xff\xfe\r\n"} {
		p := lenient()
		p.HeaderSize = p.MessageSize
		l := quiet(t, p)
		l.talk(MX, []byte(opening+in+".\r\n"), 1000)
		got := l.queue.all()
		if len(got) != 1 {
			t.Fatalf("%.40q was not accepted", in)
		}
		if _, after, _ := strings.Cut(got[0].content, "+0000\r\n"); after != in {
			t.Errorf("%.40q became %.80q", in, after)
		}
	}
}

func TestNormalize(t *testing.T) {
	p := lenient()
	p.Normalize = true
	l := quiet(t, p)
	l.talk(MX, []byte(opening+"a: b\nc: d\re: f\r\r\n\n.\n\r\n.\r\n"), 3)
	got := l.queue.all()
	if len(got) != 1 || !strings.HasSuffix(got[0].content, "+0000\r\na: b\r\nc: d\r\ne: f\r\n\r\n\r\n.\r\n\r\n") {
		t.Fatalf("got %+v", got)
	}
}

// endless is a body line, or a command, without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A line of any length costs no memory (B29, B30).
func TestLongLinesAreNotKept(t *testing.T) {
	const length = 64 << 20
	for start, end := range map[string]string{opening: "\r\n.\r\nQUIT\r\n", "EHLO ": "\r\n", opening + "To: ": "\r\n.\r\n"} {
		l := quiet(t, lenient())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out := l.talkFrom(MX, io.MultiReader(strings.NewReader(start), io.LimitReader(endless{}, length), strings.NewReader(end)), 1<<20)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%.20q: %d octets were allocated", start, n)
		}
		if !strings.Contains(out, "\r\n552 5.3.4 ") && !strings.Contains(out, "\r\n500 5.5.2 line too long") {
			t.Errorf("%.20q: %s", start, out)
		}
	}
}

// FuzzSession holds a whole session to its promises, whatever a client sends:
// one stored message for each success, clean content, well-formed replies.
func FuzzSession(f *testing.F) {
	f.Add([]byte(opening+"Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n"), uint8(3), false, false)
	f.Add([]byte("EHLO c\r\nMAIL FROM:<> SIZE=3\r\nRCPT TO:<postmaster> NOTIFY=NEVER\r\nBDAT 3\r\na:bBDAT 0 LAST\r\nRSET\r\n"), uint8(200), false, true)
	f.Add([]byte("HELO c\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\nVRFY x\r\nSTARTTLS\r\nfoo\r\n"), uint8(1), true, false)
	f.Add([]byte(opening+"\n.\n\r.\r\r\n.\r\r\n.\r\nEHLO x\r\nDATA\r\nNOOP\r\n"), uint8(9), true, true)
	f.Fuzz(func(t *testing.T, input []byte, piece uint8, normalize, local bool) {
		p := lenient()
		p.Normalize, p.MessageSize, p.HeaderSize = normalize, 4096, 2048
		l := quiet(t, p)
		service := MX
		if local {
			service = Submit
		}
		out := l.talk(service, input, int(piece)+1)
		checkReplies(t, out)
		stored := l.queue.all()
		if n := strings.Count(out, "250 2.0.0 queued as q"); n != len(stored) {
			t.Fatalf("%d messages, %d successes:\n%s", len(stored), n, out)
		}
		for _, m := range stored {
			checkClean(t, []byte(m.content))
			if err := m.envelope.Check(); err != nil {
				t.Fatal(err)
			}
		}
		if log := l.logged(); strings.Contains(log, "event=panic") {
			t.Fatal(log)
		}
	})
}

// checkReplies wants "ddd text" or "ddd-text", in printable characters.
func checkReplies(t *testing.T, out string) {
	for line := range strings.Lines(out) {
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(text) < 4 || text[0] < '2' || text[0] > '5' || text[3] != ' ' && text[3] != '-' {
			t.Fatalf("not a reply: %q", line)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(text) > 510 {
			t.Fatalf("a reply with controls, or too long: %q", line)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{"FROM:<a@b> SIZE=1", "FROM: <\"a>b\"@c> X", "FROM:<@x,@y:a@b>", "FROM:<>", "FROM:<\"\\\"\"@x>ENVID=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		path, params, err := splitPath(arg, "FROM:")
		if err != nil {
			return
		}
		if !strings.HasPrefix(path, "<") || !strings.HasSuffix(path, ">") || !strings.HasSuffix(arg, path+params) {
			t.Fatalf("%q splits into %q and %q", arg, path, params)
		}
		seen := map[string]bool{}
		eachParam(params, func(keyword, value string, given bool) error {
			if seen[keyword] || keyword == "" || strings.ContainsAny(keyword+value, " \t") || !given && value != "" {
				t.Fatalf("%q has parameter %q=%q", params, keyword, value)
			}
			seen[keyword] = true
			return nil
		})
	})
}
