package pop3d

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
)

// sent returns what RETR, or TOP with lines >= 0, puts on the wire for a
// stored message.
func sent(t testing.TB, stored io.Reader, size int64, lines, chunk int) string {
	theirs, client := net.Pipe()
	s := &session{conn: guardconn.NewConn(theirs, guardconn.Options{}), o: &Options{}}
	var got bytes.Buffer
	done := make(chan struct{})
	go func() { io.Copy(&got, client); close(done) }()
	w := newWriter(chunk)
	w.reset(lines)
	if err := s.stream(w, stored, &mailbox.Message{Size: size}); err != nil {
		t.Fatal(err)
	}
	s.conn.Close()
	<-done
	return got.String()
}

// unstuffed undoes the multi-line form as a client does.
func unstuffed(t testing.TB, reply string) string {
	first, rest, _ := strings.Cut(reply, "\r\n")
	if !strings.HasPrefix(first, "+OK ") {
		t.Fatalf("begins with %q", first)
	}
	var b strings.Builder
	for {
		line, more, ok := strings.Cut(rest, "\r\n")
		if !ok {
			t.Fatalf("no final dot after %q", line)
		}
		if line == "." {
			if more != "" {
				t.Fatalf("%d octets after the final dot", len(more))
			}
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
		rest = more
	}
}

// wanted is the model: LF becomes CRLF unless CR stands before it, and the last
// line has an end.
func wanted(stored string) string {
	var b strings.Builder
	for i := range len(stored) {
		if stored[i] == '\n' && (i == 0 || stored[i-1] != '\r') {
			b.WriteByte('\r')
		}
		b.WriteByte(stored[i])
	}
	if s := b.String(); s != "" && !strings.HasSuffix(s, "\r\n") {
		if !strings.HasSuffix(s, "\r") {
			b.WriteByte('\r')
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// FuzzRetr: what a client gets is the stored message with CRLF line ends, and
// as many octets as announced, however the file comes in pieces.
func FuzzRetr(f *testing.F) {
	f.Add([]byte("a\n.b\n..\r\n.\r\r\n\n."), uint8(1))
	f.Add([]byte(strings.Repeat(".\n", 7)), uint8(5))
	f.Add([]byte("xxx\r\n.y"), uint8(4))
	f.Fuzz(func(t *testing.T, stored []byte, chunk uint8) {
		r := iotest.HalfReader(bytes.NewReader(stored))
		want := wanted(string(stored))
		reply := sent(t, r, int64(len(want)), -1, int(chunk)+1)
		if got := unstuffed(t, reply); got != want {
			t.Fatalf("stored %q\ngot  %q\nwant %q", stored, got, want)
		}
		if !strings.HasPrefix(reply, fmt.Sprintf("+OK %d octets\r\n", len(want))) {
			t.Fatalf("%d octets, announced %.20q", len(want), reply)
		}
	})
}

// FuzzTop: TOP gives a prefix of RETR that ends with a whole line, with as
// many lines after the empty one as asked for.
func FuzzTop(f *testing.F) {
	f.Add([]byte("a: b\n\nx\ny\n"), uint8(1))
	f.Add([]byte("a: b\r\n\r\nx"), uint8(0))
	f.Fuzz(func(t *testing.T, stored []byte, lines uint8) {
		whole := wanted(string(stored))
		got := unstuffed(t, sent(t, bytes.NewReader(stored), 0, int(lines), 7))
		if !strings.HasPrefix(whole, got) {
			t.Fatalf("%q is no beginning of %q", got, whole)
		}
		head, body, found := strings.Cut("\r\n"+got, "\r\n\r\n")
		if !found && got != whole {
			t.Fatalf("the header is cut: %q", head)
		}
		if n := strings.Count(body, "\r\n"); found && n > int(lines) || found && n < int(lines) && got != whole {
			t.Fatalf("%d lines of %d: %q", n, lines, got)
		}
	})
}

// FuzzParse: what is accepted is a verb of letters in upper case and an
// argument without control characters, together as long as the line.
func FuzzParse(f *testing.F) {
	f.Add([]byte("RETR 1"))
	f.Add([]byte("pass  two words "))
	f.Add([]byte("NOOP\x00"))
	f.Fuzz(func(t *testing.T, line []byte) {
		verb, arg, err := parse(line)
		if err != nil {
			return
		}
		if c, ok := lookup(verb); ok && (c.run == nil || c.state == 0 || verb != strings.ToUpper(verb)) {
			t.Fatalf("%q", verb)
		}
		if strings.ContainsAny(verb+arg, "\x00\r\n\x7f") {
			t.Fatalf("%q %q", verb, arg)
		}
		if verb == "PASS" && len(verb)+1+len(arg) < len(line) {
			t.Fatalf("%q lost a part of the password", line)
		}
		if n, ok := number(arg); ok && fmt.Sprint(n) != strings.TrimLeft(arg, "0") && n != 0 {
			t.Fatalf("number %q is %d", arg, n)
		}
	})
}

func TestMessageRemovedByAnotherProgram(t *testing.T) {
	w := startWorld(t, map[string]string{"preauth": "alice"})
	os.Remove(w.drops.all[w.drops.root+"/alice"].path(1))
	c, in := open(t, w)
	io.WriteString(c, "RETR 1\r\nNOOP\r\n")
	want(t, in, "+OK mail.example.test Peyk POP3 ready\r\n-ERR message 1 was removed by another program\r\n+OK nothing done\r\n")
}

func TestExpungeFailureIsSaid(t *testing.T) {
	w := startWorld(t, map[string]string{"preauth": "alice"})
	w.drops.all[w.drops.root+"/alice"].fail = io.ErrUnexpectedEOF
	c, in := open(t, w)
	io.WriteString(c, "DELE 1\r\nQUIT\r\n")
	got, _ := io.ReadAll(in)
	if !strings.HasSuffix(string(got), "-ERR [SYS/TEMP] some messages were not removed\r\n") {
		t.Fatalf("got %q", got)
	}
}

// panics is a store with a defect.
type panics struct{ *fakeDrops }

func (p panics) Open(string) (Maildrop, error) { panic("a defect") }

func TestPanicEndsOneSession(t *testing.T) {
	drops := newFakeDrops(t)
	w := startOver(t, map[string]string{"preauth": "alice"}, Options{Drops: panics{drops}}, drops)
	for range 2 {
		_, in := open(t, w)
		if got, _ := io.ReadAll(in); len(got) != 0 {
			t.Fatalf("got %q", got)
		}
	}
	if !strings.Contains(w.log.String(), "event=panic") {
		t.Fatal(w.log.String())
	}
}

func TestDrainSaysGoodbye(t *testing.T) {
	w := startWorld(t, map[string]string{"preauth": "mrose"})
	c, in := open(t, w)
	io.WriteString(c, "DELE 1\r\n")
	want(t, in, "+OK mail.example.test Peyk POP3 ready\r\n+OK message 1 will be removed at QUIT\r\n")
	w.stop()
	want(t, in, "-ERR [SYS/TEMP] the server is shutting down\r\n")
	<-w.ended
	if len(w.drops.all[w.drops.root+"/mrose"].gone) != 0 {
		t.Fatal("a shutdown removed messages")
	}
}

func TestLogEvents(t *testing.T) {
	w := startWorld(t, map[string]string{"pop3-plaintext-login": "127.0.0.0/8"})
	c, in := open(t, w)
	io.WriteString(c, "USER alice\r\nPASS hunter2\r\nUSER alice\r\nPASS secret\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")
	io.ReadAll(in)
	w.stop()
	<-w.ended
	log := w.log.String()
	for _, part := range []string{"event=login-failed", "event=login program", "user=alice", "event=closed", "reason=quit retrieved=1 octets=52 deleted=1"} {
		if !strings.Contains(log, part) {
			t.Errorf("no %q in\n%s", part, log)
		}
	}
	if strings.Contains(log, "hunter2") || strings.Contains(log, "secret") {
		t.Errorf("a password is in the log:\n%s", log)
	}
}

func open(t testing.TB, w *world) (net.Conn, *bufio.Reader) {
	c, err := w.dial("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

func want(t testing.TB, in io.Reader, text string) {
	t.Helper()
	b := make([]byte, len(text))
	if n, err := io.ReadFull(in, b); err != nil || string(b) != text {
		t.Fatalf("got %q, %v; want %q", b[:n], err, text)
	}
}

func BenchmarkRetrPipelined(b *testing.B) {
	w := startWorld(b, map[string]string{"preauth": "mrose"})
	d := w.drops.all[w.drops.root+"/mrose"]
	body := "Subject: x\n\n" + strings.Repeat(strings.Repeat("y", 70)+"\n", 57)
	os.WriteFile(d.path(1), []byte(body), 0o600)
	c, in := open(b, w)
	in.ReadString('\n')
	go func() {
		batch := []byte(strings.Repeat("RETR 1\r\n", 100))
		for {
			if _, err := c.Write(batch); err != nil {
				return
			}
		}
	}()
	b.ReportAllocs()
	size := int64(len(wanted(body))) + int64(len("+OK 4118 octets\r\n.\r\n"))
	b.SetBytes(size)
	for b.Loop() {
		io.CopyN(io.Discard, in, size)
	}
}

func BenchmarkUIDL100k(b *testing.B) {
	s := &session{validity: 1, messages: mailbox.ListOf(make([]mailbox.Message, 100_000)), o: &Options{}}
	theirs, client := net.Pipe()
	go io.Copy(io.Discard, client)
	s.conn = guardconn.NewConn(theirs, guardconn.Options{})
	b.ReportAllocs()
	for b.Loop() {
		s.uidl(b.Context(), "")
	}
}
