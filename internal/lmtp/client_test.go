package lmtp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A script is a server that says fixed things: after the number of lines from
// the client that each step waits for, its text.
type step struct {
	lines int
	text  string
}

// scripted returns a client that talks to the script. After the last step the
// connection is closed, unless stay.
func scripted(t *testing.T, lhlo string, stay bool, steps ...step) (*Client, *transcript) {
	t.Helper()
	ours, theirs := net.Pipe()
	seen := &transcript{done: make(chan struct{})}
	go func() {
		defer close(seen.done)
		if !stay {
			defer theirs.Close()
		}
		io.WriteString(theirs, "220 script\r\n")
		in := bufio.NewReader(theirs)
		in.ReadString('\n')
		io.WriteString(theirs, lhlo)
		for _, s := range steps {
			for range s.lines {
				line, err := in.ReadString('\n')
				seen.add(line)
				if err != nil {
					return
				}
			}
			if _, err := io.WriteString(theirs, s.text); err != nil {
				return
			}
		}
		if stay {
			io.Copy(seen, in)
		}
	}()
	c, err := NewClient(context.Background(), ours, "me", Timeouts{Command: 30 * time.Second, Final: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); theirs.Close() })
	return c, seen
}

type transcript struct {
	mu   sync.Mutex
	b    strings.Builder
	done chan struct{}
}

func (t *transcript) add(line string) { t.mu.Lock(); t.b.WriteString(line); t.mu.Unlock() }

func (t *transcript) Write(p []byte) (int, error) { t.add(string(p)); return len(p), nil }

func (t *transcript) String() string { t.mu.Lock(); defer t.mu.Unlock(); return t.b.String() }

const (
	allOffered = "250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-SIZE 1000\r\n250-XFORWARD IDENT\r\n250 ENHANCEDSTATUSCODES\r\n"
	noChunks   = "250-x\r\n250 PIPELINING\r\n"
	nothing    = "250 x\r\n"
)

func summary(results []Result) string {
	var all []string
	for _, r := range results {
		if r.Err == nil {
			all = append(all, "ok")
			continue
		}
		all = append(all, r.Err.Reply())
	}
	return strings.Join(all, "; ")
}

func TestParametersGoOnlyWhereOffered(t *testing.T) {
	tr := transaction("x\r\n", "a@x.test")
	tr.Body, tr.SMTPUTF8, tr.Ret, tr.EnvID, tr.RequireTLS = "8BITMIME", true, "FULL", "e", false
	tr.Recipients[0].Notify, tr.Recipients[0].ORcpt = []string{"NEVER"}, "rfc822;o+@x"
	c, seen := scripted(t, allOffered, false, step{5, "250 x\r\n250 m\r\n250 r\r\n250 d\r\n"})
	if got, err := c.Deliver(context.Background(), tr); err != nil || got[0].Err != nil {
		t.Fatal(got, err)
	}
	want := "XFORWARD IDENT=0QID+2B1\r\nMAIL FROM:<a@example.net> SIZE=3 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=e\r\n" +
		"RCPT TO:<a@x.test> NOTIFY=NEVER ORCPT=rfc822;o+2B@x\r\nBDAT 3 LAST\r\nx\r\n"
	if seen.String() != want {
		t.Errorf("sent %q, want %q", seen, want)
	}
	tr.Message = strings.NewReader(".x\r\n")
	tr.Size = 4
	c, seen = scripted(t, nothing, false, step{1, "250 m\r\n"}, step{1, "250 r\r\n"}, step{1, "354 go\r\n"}, step{2, "250 d\r\n"})
	if got, err := c.Deliver(context.Background(), tr); err != nil || got[0].Err != nil {
		t.Fatal(got, err)
	}
	if want := "MAIL FROM:<a@example.net>\r\nRCPT TO:<a@x.test>\r\nDATA\r\n..x\r\n.\r\n"; seen.String() != want {
		t.Errorf("sent %q, want %q", seen, want)
	}
}

func TestRepliesInPieces(t *testing.T) {
	for _, c := range []struct {
		name, lhlo string
		steps      []step
		want       string
		broken     bool
	}{
		{"all is well", noChunks, []step{{4, "250 m\r\n250 r\r\n550 no\r\n354 go\r\n"}, {2, "250 2.0.0 ok\r\n"}}, "ok; 550 5.1.0 no", false},
		{"several lines, enhanced codes", noChunks, []step{{4, "250 m\r\n250 r\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n354 go\r\n"}, {2, "452-4.2.2 full\r\n452 4.2.2 really\r\n"}},
			"452 4.2.2 full really; 550 5.1.1 no such user", false},
		{"MAIL refused", allOffered, []step{{6, "250 x\r\n451 4.7.1 greylisted\r\n503 no\r\n503 no\r\n503 no\r\n"}}, "451 4.7.1 greylisted; 451 4.7.1 greylisted", false},
		{"all recipients refused", allOffered, []step{{6, "250 x\r\n250 m\r\n550 5.1.1 no\r\n450 4.2.0 later\r\n503 nobody\r\n"}}, "550 5.1.1 no; 450 4.2.0 later", false},
		{"DATA refused", noChunks, []step{{4, "250 m\r\n250 r\r\n250 r\r\n451 4.3.1 no room\r\n"}}, "451 4.3.1 no room; 451 4.3.1 no room", false},
		{"354 for nobody", noChunks, []step{{4, "250 m\r\n550 r\r\n550 r\r\n354 go\r\n"}, {1, ""}}, "550 5.1.0 r; 550 5.1.0 r", true},
		{"421 at once", allOffered, []step{{1, "421 4.3.2 going down\r\n"}}, "421 4.3.2 going down; 421 4.3.2 going down", true},
		{"421 between the last replies", allOffered, []step{{6, "250 x\r\n250 m\r\n250 r\r\n250 r\r\n250 ok\r\n421 4.3.2 bye\r\n"}}, "ok; 421 4.3.2 bye", true},
		{"half the replies, then gone", allOffered, []step{{6, "250 x\r\n250 m\r\n250 r\r\n250 r\r\n250 ok\r\n25"}}, "ok; 451 4.4.2 connection to the delivery service was lost", true},
		{"gone at once", allOffered, []step{{6, ""}}, "451 4.4.2 connection to the delivery service was lost; 451 4.4.2 connection to the delivery service was lost", true},
		{"garbage", allOffered, []step{{6, "250 x\r\nHTTP/1.0 200 OK\r\n"}}, "451 4.5.0 delivery service does not speak LMTP; 451 4.5.0 delivery service does not speak LMTP", true},
		{"another code in one reply", allOffered, []step{{6, "250-x\r\n550 x\r\n"}}, "451 4.5.0 delivery service does not speak LMTP; 451 4.5.0 delivery service does not speak LMTP", true},
		{"an endless reply", allOffered, []step{{6, strings.Repeat("250-x\r\n", 101)}}, "451 4.5.0 delivery service does not speak LMTP; 451 4.5.0 delivery service does not speak LMTP", true},
		{"an endless line", allOffered, []step{{6, "250 " + strings.Repeat("x", 5000)}}, "451 4.5.0 delivery service does not speak LMTP; 451 4.5.0 delivery service does not speak LMTP", true},
		{"one reply for the command", allOffered, []step{{6, "250 x\r\n250 m\r\n250 r\r\n250 r\r\n503 5.5.1 BDAT?\r\n"}}, "503 5.5.1 BDAT?; 503 5.5.1 BDAT?", true},
		{"354 as the last word", allOffered, []step{{6, "250 x\r\n250 m\r\n250 r\r\n250 r\r\n354 go\r\n250 y\r\n"}}, "451 4.5.0 unexpected reply 354 go; ok", false},
		{"control characters", allOffered, []step{{6, "250 x\r\n250 m\r\n550 a\x00b\x1b[0m\xff\r\n550 c\r\n503 x\r\n"}}, "550 5.1.0 a?b?[0m?; 550 5.1.0 c", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, _ := scripted(t, c.lhlo, false, c.steps...)
			got, err := client.Deliver(context.Background(), transaction("x\r\n", "a@x.test", "b@x.test"))
			if summary(got) != c.want {
				t.Errorf("got %s\nwant %s", summary(got), c.want)
			}
			if client.Broken() != c.broken || err != nil && !c.broken {
				t.Errorf("broken %v, error %v", client.Broken(), err)
			}
		})
	}
}

func TestDribblingServer(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go io.Copy(io.Discard, theirs)
	go func() {
		for _, b := range []byte("220 x\r\n" + allOffered + "250 x\r\n250 m\r\n250 r\r\n250-two\r\n250 lines\r\n") {
			if _, err := theirs.Write([]byte{b}); err != nil {
				return
			}
		}
	}()
	c, err := NewClient(context.Background(), ours, "me", Timeouts{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Deliver(context.Background(), transaction("x\r\n", "a@x.test"))
	if err != nil || got[0].Reply != "250 two lines" {
		t.Error(got, err)
	}
}

func TestASilentServerRunsIntoTheTimeout(t *testing.T) {
	c, _ := scripted(t, allOffered, true)
	c.timeouts.Command = 20 * time.Millisecond
	got, err := c.Deliver(context.Background(), transaction("x\r\n", "a@x.test"))
	if err == nil || summary(got) != "451 4.4.2 delivery service did not answer in time" || !c.Broken() {
		t.Error(summary(got), err)
	}
	if got, err = c.Deliver(context.Background(), transaction("x\r\n", "a@x.test")); err == nil || !got[0].Err.Temporary() {
		t.Error("a broken connection was used again:", got, err)
	}
}

func TestAServerThatDoesNotReadRunsIntoTheTimeout(t *testing.T) {
	ours, theirs := net.Pipe() // has no buffer: a write blocks until somebody reads
	defer theirs.Close()
	go func() {
		io.WriteString(theirs, "220 x\r\n")
		bufio.NewReader(theirs).ReadString('\n')
		io.WriteString(theirs, allOffered)
	}()
	c, err := NewClient(context.Background(), ours, "me", Timeouts{Write: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Deliver(context.Background(), transaction("x\r\n", "a@x.test")); err == nil || !got[0].Err.Temporary() {
		t.Error(got, err)
	}
}

func TestTheEndOfTheContextEndsTheDelivery(t *testing.T) {
	c, seen := scripted(t, allOffered, true)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for !strings.Contains(seen.String(), "LAST") {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if got, err := c.Deliver(ctx, transaction("x\r\n", "a@x.test")); err == nil || !got[0].Err.Temporary() || !c.Broken() {
		t.Error(got, err)
	}
}

func TestGreetingThatRefuses(t *testing.T) {
	for _, greeting := range []string{"554 go away\r\n", "421 busy\r\n", "garbage\r\n", "", "220 ok\r\n500 what?\r\n"} {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		go func() { io.WriteString(theirs, greeting); theirs.Close() }()
		if _, err := NewClient(context.Background(), ours, "me", Timeouts{}); err == nil || !strings.HasPrefix(statusOf(err), "451 4.") {
			t.Errorf("%q: %v", greeting, err)
		}
	}
	if _, err := Dial(context.Background(), "unix", "/nonexistent/socket", "me", Timeouts{}); err == nil || !strings.HasPrefix(statusOf(err), "451 4.4.1") {
		t.Error(err)
	}
}

func statusOf(err error) string {
	var e interface{ Reply() string }
	if errors.As(err, &e) {
		return e.Reply()
	}
	return err.Error()
}

func TestAMessageThatIsNotWhatItShouldBe(t *testing.T) {
	m := &memory{}
	path := serve(t, m, Options{})
	for name, change := range map[string]func(*Transaction){
		"shorter":          func(tr *Transaction) { tr.Size += 5 },
		"longer":           func(tr *Transaction) { tr.Size -= 5 },
		"unreadable":       func(tr *Transaction) { tr.Message = io.MultiReader(tr.Message, errReader{}); tr.Size += 5 },
		"unreadable chunk": func(tr *Transaction) { tr.Message = io.MultiReader(tr.Message, errReader{}); tr.Size = 0 },
		"large, shorter": func(tr *Transaction) {
			tr.Message, tr.Size = strings.NewReader(strings.Repeat("x", 3*chunk)), 3*chunk+1
		},
	} {
		c := dial(t, path)
		tr := transaction(hello, "a@x.test")
		change(tr)
		if got, err := c.Deliver(context.Background(), tr); err == nil || !got[0].Err.Temporary() || !c.Broken() {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, r := range m.all() {
		if r.err == nil {
			t.Errorf("delivered %q", r.message)
		}
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWhatAServerCannotTake(t *testing.T) {
	tr := transaction("x", "ü@x.test")
	tr.SMTPUTF8 = true
	binary := transaction("x", "a@x.test")
	binary.Body = "BINARYMIME"
	private := transaction("x", "a@x.test")
	private.RequireTLS = true
	for tr, want := range map[*Transaction]string{tr: "553 5.6.7", binary: "554 5.6.3", private: "554 5.7.30"} {
		c, seen := scripted(t, nothing, true)
		got, err := c.Deliver(context.Background(), tr)
		if err != nil || !strings.HasPrefix(summary(got), want) || c.Broken() || seen.String() != "" {
			t.Errorf("%s: %s, %v, sent %q", want, summary(got), err, seen)
		}
	}
}

// The bytes that DATA carries hold no bare CR or LF and exactly one end,
// whatever the message was, and in whatever pieces it came.
func FuzzStuffer(f *testing.F) {
	for _, seed := range []string{"", ".", "\r\n.\r\n", "\n.\n", "\r.\r", "a\r\n..b", "\r\r\n.\r\r\n", "x\r"} {
		f.Add([]byte(seed), 1)
	}
	f.Fuzz(func(t *testing.T, message []byte, cut int) {
		cut = max(0, min(cut, len(message)))
		s := stuffer{start: true}
		wire := s.append(nil, message[:cut])
		wire = s.finish(s.append(wire, message[cut:]))
		if bytes.Count(wire, []byte("\r")) != bytes.Count(wire, []byte("\r\n")) || bytes.Count(wire, []byte("\n")) != bytes.Count(wire, []byte("\r\n")) {
			t.Fatalf("bare CR or LF in %q", wire)
		}
		// Taking it apart as RFC 5321 §4.5.2 says gives the message back, with its line ends mended.
		var got []string
		lines := strings.SplitAfter(string(wire), "\r\n")
		if lines[len(lines)-1] != "" || lines[len(lines)-2] != ".\r\n" {
			t.Fatalf("no end in %q", wire)
		}
		for _, line := range lines[:len(lines)-2] {
			if line == ".\r\n" {
				t.Fatalf("an early end in %q", wire)
			}
			got = append(got, strings.TrimPrefix(line, "."))
		}
		want := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(string(message))
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if strings.Join(got, "") != want {
			t.Fatalf("%q became %q", message, got)
		}
	})
}

// Whatever a server says, reading it ends, within the limits, and what comes
// out is printable.
func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 no\r\n", "250\n", "2500 x\r\n", "199 x\r\n", "250-a\r\n251 b\r\n", "354 \r\n", "452-4.2.2 x\r\n452 4.2.1 y\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(b), maxReplyLine)
		for {
			r, err := readReply(in)
			if err != nil {
				return
			}
			if r.code < 200 || r.code > 599 || len(r.lines) > maxReplyLines {
				t.Fatalf("reply %+v", r)
			}
			text := r.String()
			if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("control characters in %q", text)
			}
			e := r.err()
			if (e == nil) != r.ok() || e != nil && (e.Code < 400 || e.Enhanced[0] != byte('0'+e.Code/100)) {
				t.Fatalf("%q means %v", text, e)
			}
		}
	})
}
