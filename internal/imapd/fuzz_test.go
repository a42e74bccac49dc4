package imapd

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
	"peyk/test/imapwire"

	"github.com/emersion/go-imap/v2"
)

// pipeConn is a client that has sent everything at once and reads nothing
// until the end.
type pipeConn struct {
	net.Conn // nil: the rest is not used
	in       *bytes.Reader
	out      bytes.Buffer
}

func (c *pipeConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *pipeConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *pipeConn) Close() error                     { return nil }
func (c *pipeConn) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (c *pipeConn) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (c *pipeConn) SetDeadline(time.Time) error      { return nil }
func (c *pipeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *pipeConn) SetWriteDeadline(time.Time) error { return nil }

// session makes one that writes to the client.
func (c *pipeConn) session() *session {
	return &session{srv: &Server{}, o: &Options{Now: time.Now}, conn: guardconn.NewConn(c, guardconn.Options{Now: time.Now})}
}

// talk runs one session over what the client says and returns the answers.
func talk(o *Options, input []byte) []byte {
	pipe := &pipeConn{in: bytes.NewReader(input)}
	conn := guardconn.NewConn(pipe, guardconn.Options{Now: time.Now})
	srv := New(*o)
	s := newSession(context.Background(), srv, o, conn)
	s.run()
	s.close()
	srv.Close()
	return pipe.out.Bytes()
}

func preauth(f testing.TB) *Options {
	dir := f.TempDir()
	host := newHost(f)
	errs := host.Deliver([]mailbox.Target{{Root: filepath.Join(dir, "m")}}, func(w io.Writer) error {
		_, err := io.WriteString(w, "From: a@b\nSubject: s\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n1\n--x\n\n2\n--x--\n")
		return err
	})
	if errs[0] != nil {
		f.Fatal(errs[0])
	}
	limits := DefaultLimits()
	limits.MessageSize, limits.Errors = 1<<16, 1000
	return &Options{Host: host, Now: time.Now, Rand: rand.Reader, Limits: limits, Preauth: filepath.Join(dir, "m"), Hostname: "h"}
}

// FuzzSession sends any octets as commands: no panic, and every answer is
// well formed by a strict reader.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"a SELECT INBOX\r\nb FETCH 1:* (FLAGS UID BODY[] BODYSTRUCTURE ENVELOPE INTERNALDATE)\r\nc LOGOUT\r\n",
		"a SELECT INBOX\r\nb UID STORE 1 +FLAGS (\\Seen x)\r\nc SEARCH OR TEXT {1+}\r\na NOT FROM \"\\\"\"\r\n",
		"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% *) RETURN (STATUS (MESSAGES))\r\nb STATUS INBOX (SIZE)\r\n",
		"a APPEND INBOX (\\Seen) \" 1-Jan-2020 00:00:00 +0000\" {3+}\r\nabc\r\nb IDLE\r\nDONE\r\nc FETCH 1 BODY[1.HEADER.FIELDS (A \"b\")]<0.5>\r\n",
		"a EXAMINE INBOX\r\nb SEARCH RETURN (RELEVANCY ALL) FUZZY (TEXT \"a 1\" NOT SUBJECT s)\r\nc SORT (REVERSE RELEVANCY) UTF-8 FUZZY OR BODY 1 FROM b\r\n",
		"a EXAMINE INBOX\r\nb FETCH * BODY[2.MIME]<18446744073709551615.1>\r\nc SEARCH RETURN (ALL) UID *:1,4294967295\r\n",
	} {
		f.Add([]byte(seed))
	}
	o := preauth(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		if bytes.Contains(bytes.ToUpper(input), []byte("IDLE")) && len(input) > 4096 {
			return
		}
		out := talk(o, input)
		if _, err := imapwire.ReadAll(bytes.NewReader(out)); err != nil {
			t.Fatalf("%v\ninput %q\noutput %q", err, input, out)
		}
	})
}

// FuzzLiteralsAreNeverCommands wraps any octets into a literal of a command
// that is refused: none of them is run.
func FuzzLiteralsAreNeverCommands(f *testing.F) {
	f.Add([]byte("x CREATE evil\r\n"), "LOGIN ")
	f.Add([]byte("x CREATE evil\r\n"), "APPEND INBOX bad ")
	f.Add([]byte("x CREATE evil\r\n"), "FOO \"")
	f.Add([]byte("{3+}\r\nx CREATE evil\r\n"), "SEARCH (")
	o := preauth(f)
	f.Fuzz(func(t *testing.T, text []byte, head string) {
		head = strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' || r == '{' {
				return -1
			}
			return r
		}, head)
		if len(head) > 1000 || strings.Contains(strings.ToUpper(head), "IDLE") || strings.Contains(strings.ToUpper(head), "LOGOUT") {
			return
		}
		input := fmt.Appendf(nil, "a %s {%d+}\r\n%s\r\nlast NOOP\r\n", head, len(text), text)
		out := talk(o, input)
		if n := bytes.Count(out, []byte(" OK ")) + bytes.Count(out, []byte(" NO ")) + bytes.Count(out, []byte(" BAD ")); n > 2+1 {
			// the greeting is PREAUTH; one answer for a, one for last
			t.Fatalf("%d answers\ninput %q\noutput %q", n, input, out)
		}
		if !bytes.HasSuffix(out, []byte("last OK done\r\n")) && !bytes.Contains(out, []byte("* BYE")) {
			t.Fatalf("input %q\noutput %q", input, out)
		}
	})
}

// FuzzSet compares sets with a slow model, and with what is written back.
func FuzzSet(f *testing.F) {
	f.Add("1:3,*,7", 9)
	f.Add("*:2,4294967295,5:4", 4)
	f.Add("1:4294967295", 0)
	f.Fuzz(func(t *testing.T, text string, size int) {
		size = int(uint(size) % 20)
		p := &parser{s: &session{}, line: []byte(text)}
		set, err := p.set()
		if err != nil || !p.done() || len(set) > 1000 {
			return
		}
		all := make([]mailbox.Message, size)
		for i := range all {
			all[i].UID = uint32(3*i + 2)
		}
		view := mailbox.ListOf(all)
		last := uint32(0)
		if size > 0 {
			last = all[size-1].UID
		}
		var want []uint32
		for i := range all {
			if inModel(set, all[i].UID, last) {
				want = append(want, uint32(i))
			}
		}
		var got []uint32
		byUID(view, set).each(func(i int) error {
			got = append(got, uint32(i))
			return nil
		})
		if !slices.Equal(got, want) {
			t.Fatalf("%q of %d messages: %v, want %v", text, size, got, want)
		}
		back := &parser{s: &session{}, line: appendSet(nil, got)}
		if len(got) > 0 && got[0] > 0 {
			if again, err := back.set(); err != nil || len(again) > len(got) {
				t.Fatalf("%v written as %q: %v", got, back.line, err)
			}
		}
	})
}

func inModel(set imap.SeqSet, n, last uint32) bool {
	for _, r := range set {
		a, b := r.Start, r.Stop
		if a == 0 {
			a = last
		}
		if b == 0 {
			b = last
		}
		if min(a, b) <= n && n <= max(a, b) {
			return true
		}
	}
	return false
}

// FuzzName: a mailbox name has one wire form in ASCII.
func FuzzName(f *testing.F) {
	f.Add("Gel&APY-scht", "پیک & co")
	f.Fuzz(func(t *testing.T, raw, name string) {
		if got, ok := features(0).decodePattern(raw); ok && isASCII(raw) && encodeName(got) != raw {
			t.Fatalf("%q is %q is %q", raw, got, encodeName(got))
		}
		name = strings.ToValidUTF8(name, "")
		if got, ok := features(0).decodePattern(encodeName(name)); !ok || got != name {
			t.Fatalf("%q is %q is %q", name, encodeName(name), got)
		}
	})
}

// FuzzPattern compares LIST matching with a recursive model.
func FuzzPattern(f *testing.F) {
	f.Add("a%.*b", "a.x.b")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 8 || len(name) > 8 || strings.EqualFold(name, "INBOX") {
			return
		}
		if got, want := matchPattern(pattern, name, '.'), modelMatch(pattern, name); got != want {
			t.Fatalf("%q on %q: %v", pattern, name, got)
		}
	})
}

func modelMatch(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if c := pattern[0]; c == '*' || c == '%' {
		return modelMatch(pattern[1:], name) || name != "" && (c == '*' || name[0] != '.') && modelMatch(pattern, name[1:])
	}
	return name != "" && name[0] == pattern[0] && modelMatch(pattern[1:], name[1:])
}
