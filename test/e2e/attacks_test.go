package e2e_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/mailbox"
	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

// An attack is what somebody may send or do. Nothing may crash, hang or grow,
// and the answer is the one that is expected.
type attack struct {
	name string
	run  func(*arena)
}

// TestAttacks runs every attack against one running system. At the end every
// daemon is the process that it was.
func TestAttacks(t *testing.T) {
	s := sandbox.Start(t, "message-size-limit=64M", "imap-errors=1000")
	pids := map[string]int{}
	for _, name := range []string{"imapd", "pop3d", "deliver", "smtpd"} {
		pids[name] = s.Pid(name)
	}
	t.Logf("each in 128 MiB of its own: %v", confine(t, s, "imapd", "pop3d", "deliver", "smtpd"))
	for _, list := range [][]attack{attacksOnSyntax, attacksByMail, attacksOnFiles, attacksOnPOP3, attacksOnLMTP} {
		for _, attack := range list {
			t.Run(attack.name, func(t *testing.T) { attack.run(&arena{T: t, s: s}) })
		}
	}
	for name, pid := range pids {
		if s.Pid(name) != pid {
			t.Errorf("%s is another process than at the beginning", name)
		}
	}
	if strings.Contains(s.Log(), "event=panic") {
		t.Errorf("somebody panicked:\n%s", regexp.MustCompile(`.*event=panic.*`).FindString(s.Log()))
	}
}

// An arena is where an attack happens.
type arena struct {
	*testing.T
	s *sandbox.Sandbox
	n int
}

// stranger connects without logging in.
func (a *arena) stranger() *imapwire.Client {
	a.Helper()
	c, err := imapwire.Dial(a.s.Env["PEYK_IMAPS"], trusted(a, a.s), patience)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { c.Close() })
	return c
}

func (a *arena) login() *imapwire.Client {
	a.Helper()
	c := a.stranger()
	a.want(c, "LOGIN "+a.s.Env["PEYK_USER1"]+" "+a.s.Env["PEYK_PASS1"], "OK")
	return c
}

// do sends a command; an answer by BYE and the end is BAD.
func (a *arena) do(c *imapwire.Client, command string) *imapwire.Answer {
	a.Helper()
	bye := ""
	c.Each = func(r *imapwire.Response) {
		if r.Kind == "BYE" {
			bye = r.Text
		}
	}
	answer, err := c.Do(command)
	if err == nil {
		return answer
	}
	if bye == "" && !ended(err) {
		a.Errorf("%.200q: %v", command, err)
	}
	if answer == nil {
		answer = &imapwire.Answer{}
	}
	answer.Response = &imapwire.Response{Kind: "BYE", Text: bye}
	return answer
}

// want sends a command that must be answered in one of these ways.
func (a *arena) want(c *imapwire.Client, command string, kinds ...string) *imapwire.Answer {
	a.Helper()
	answer := a.do(c, command)
	for _, kind := range kinds {
		if kind == answer.Kind || kind == answer.Kind+" ["+answer.Code+"]" {
			return answer
		}
	}
	a.Errorf("%.200q: %s [%s] %s, want %v", command, answer.Kind, answer.Code, answer.Text, kinds)
	return answer
}

// folder makes a folder that holds the messages as files, and selects it.
func (a *arena) folder(messages ...string) (*imapwire.Client, string) {
	a.Helper()
	a.n++
	name := fmt.Sprintf("f%x%d", time.Now().UnixNano(), a.n)
	dir := filepath.Join(a.s.Env["PEYK_MAILDIR1"], "."+name)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			a.Fatal(err)
		}
	}
	for i, text := range messages {
		if err := os.WriteFile(filepath.Join(dir, "cur", fmt.Sprintf("%d.M%dP1.h:2,", 1_700_000_000+i, i)), []byte(text), 0o600); err != nil {
			a.Fatal(err)
		}
	}
	c := a.login()
	c.NUL = true
	a.want(c, "SELECT "+name, "OK")
	return c, dir
}

// large chooses between what each run of the tests can afford and the size that
// an attack is meant to have, which PEYK_LARGE asks for.
func large(small, whole int) int {
	if os.Getenv("PEYK_LARGE") == "" {
		return small
	}
	return whole
}

// costs tells what something took, and what imapd's size is then at most.
func (a *arena) costs(what string, f func()) {
	a.Helper()
	start := time.Now()
	a.soon(f)
	a.Logf("%s: %v, imapd at most %d MB", what, time.Since(start).Round(time.Millisecond), a.peak("imapd")/1024)
}

// anyOf is a search for any of n texts, as a tree, since keys may be nested a
// hundred deep only.
func anyOf(from, n int) string {
	if n == 1 {
		return fmt.Sprintf("TEXT zz%d", from)
	}
	return "OR " + anyOf(from, n/2) + " " + anyOf(from+n/2, n-n/2)
}

// depth is how deep a structure is nested.
func depth(v imapwire.Value) int {
	most := 0
	for _, inner := range v.List {
		most = max(most, depth(inner))
	}
	return most + 1
}

// item fetches one item of the first message.
func (a *arena) item(c *imapwire.Client, item, name string) imapwire.Value {
	a.Helper()
	for _, r := range a.want(c, "FETCH 1 "+item, "OK").Data {
		if v, ok := r.Item(name); ok {
			return v
		}
	}
	a.Errorf("no %s in the answer", name)
	return imapwire.Value{}
}

// peak returns the greatest resident size that a daemon had, in kilobytes.
func (a *arena) peak(daemon string) int {
	a.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.s.Pid(daemon)))
	if err != nil {
		a.Fatal(err)
	}
	n := 0
	if _, rest, ok := strings.Cut(string(text), "VmHWM:"); ok {
		fmt.Sscan(rest, &n)
	}
	return n
}

// small runs something that may cost imapd only so many megabytes more than
// its greatest size so far.
func (a *arena) small(megabytes int, f func()) {
	a.Helper()
	before := a.peak("imapd")
	f()
	if grown := (a.peak("imapd") - before) / 1024; grown > megabytes {
		a.Errorf("imapd grew by %d MB, at most %d are meant", grown, megabytes)
	}
}

// soon fails when something takes longer than any busy machine explains.
func (a *arena) soon(f func()) {
	a.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > time.Duration(large(30, 900))*time.Second {
		a.Errorf("took %v", took)
	}
}

var attacksOnSyntax = []attack{
	{"65 a command behind STARTTLS in one segment is not run", func(a *arena) {
		conn, err := net.Dial("tcp", a.s.Env["PEYK_IMAP"])
		if err != nil {
			a.Fatal(err)
		}
		c, err := imapwire.New(conn, patience)
		if err != nil {
			a.Fatal(err)
		}
		defer c.Close()
		io.WriteString(conn, "a STARTTLS\r\nb LOGIN x y\r\n")
		if r, err := c.Next(); err != nil || r.Tag != "a" || r.Kind != "OK" {
			a.Fatal(r, err)
		}
		over := tls.Client(conn, trusted(a, a.s))
		if over.Handshake() != nil {
			return // refused: as good
		}
		c.Reset(over)
		io.WriteString(over, "c NOOP\r\n")
		if r, err := c.Next(); err == nil && r.Tag != "c" {
			a.Errorf("got %q", r.Raw)
		}
	}},
	{"66 no password without TLS, no STARTTLS within", func(a *arena) {
		c, err := imapwire.Dial(a.s.Env["PEYK_IMAP"], nil, patience)
		if err != nil {
			a.Fatal(err)
		}
		defer c.Close()
		caps := c.Greeting.Line()
		if !strings.Contains(caps, "LOGINDISABLED") || strings.Contains(caps, "AUTH=") {
			a.Errorf("before TLS: %s", caps)
		}
		a.want(c, "LOGIN "+a.s.Env["PEYK_USER1"]+" "+a.s.Env["PEYK_PASS1"], "NO [PRIVACYREQUIRED]")
		within := a.stranger()
		a.want(within, "STARTTLS", "BAD", "NO")
		if strings.Contains(within.Greeting.Line(), "STARTTLS") {
			a.Error("STARTTLS is offered under TLS")
		}
	}},
	{"67 sizes of literals before login", func(a *arena) {
		a.small(8, func() {
			for _, size := range []string{"9223372036854775807+", "18446744073709551616", "-1", "1000000000", "1000000000+", "99999999999999999999999+", "+", ""} {
				a.want(a.stranger(), "LOGIN {"+size+"}", "BAD", "BYE", "NO")
			}
		})
		c := a.stranger()
		a.want(c, "LOGIN {00000000000000000001+}\r\nx y", "NO", "BAD")
	}},
	{"68 ten thousand literals in one command", func(a *arena) {
		a.small(16, func() {
			c := a.login()
			go io.WriteString(c.Conn, "a SEARCH"+strings.Repeat(" TEXT "+imapwire.Lit(strings.Repeat("x", 4096)), 10_000)+"\r\n")
			if r, err := c.Next(); err == nil && r.Kind != "BAD" && r.Kind != "BYE" {
				a.Errorf("got %q", r.Raw)
			}
		})
	}},
	{"69 a literal without waiting that is too large for a stranger", func(a *arena) {
		a.want(a.stranger(), "LOGIN "+imapwire.Lit(strings.Repeat("x", 20_000))+" y", "BAD", "BYE")
	}},
	{"70 parentheses", func(a *arena) {
		a.small(8, func() {
			a.want(a.stranger(), strings.Repeat("(", 100_000), "BAD", "BYE")
			c := a.login()
			a.want(c, "SELECT INBOX", "OK")
			a.want(c, "SEARCH "+strings.Repeat("(", 10_000)+"SEEN"+strings.Repeat(")", 10_000), "BAD")
			a.want(c, "SEARCH "+strings.Repeat("NOT ", 10_000)+"SEEN", "BAD")
			a.want(c, "FETCH 1 "+strings.Repeat("(", 10_000), "BAD")
			a.want(c, "LIST "+strings.Repeat("(", 10_000), "BAD")
		})
	}},
	{"71 a line that does not end", func(a *arena) {
		a.small(8, func() {
			c := a.stranger()
			go io.WriteString(c.Conn, strings.Repeat("x", 64<<10)+"\r\n")
			if r, err := c.Next(); err == nil && r.Kind != "BAD" && r.Kind != "BYE" {
				a.Errorf("got %q", r.Raw)
			}
		})
	}},
	{"72 names of mailboxes stay below the Maildir", func(a *arena) {
		c := a.login()
		outside := func() string {
			all, _ := filepath.Glob(filepath.Join(filepath.Dir(a.s.Env["PEYK_MAILDIR1"]), "*"))
			return strings.Join(all, " ")
		}
		before := outside()
		for _, name := range []string{"../x", "a/../b", "/etc", ".", "..", "...", "~root", "~", "a//b", "INBOX/", "a\x01b", "", " ", ".x", "x.", "a..b", strings.Repeat("n", 256), strings.Repeat("n", 1024),
			strings.Repeat("a.", 1000) + "a", "new/x", "cur/../../x"} {
			for _, verb := range []string{"CREATE ", "SELECT ", "DELETE ", "SUBSCRIBE ", "RENAME INBOX ", "STATUS "} {
				more := ""
				if verb == "STATUS " {
					more = " (MESSAGES)"
				}
				if answer := a.do(c, verb+imapwire.Quote(name)+more); answer.Kind == "BYE" {
					a.Fatalf("%s%.50q ends the session", verb, name)
				}
			}
			a.do(c, "UNSUBSCRIBE "+imapwire.Quote(name))
		}
		for _, name := range []string{"cur", "new", "tmp", strings.Repeat("n", 200)} { // plain names, as folders
			a.want(c, "CREATE "+name, "OK")
			a.want(c, "DELETE "+name, "OK")
		}
		a.want(c, "SELECT InBoX", "OK")
		a.want(c, "LIST \"\" *", "OK")
		if now := outside(); now != before {
			a.Errorf("beside the Maildir is %s, and was %s", now, before)
		}
	}},
	{"73 modified UTF-7 has one form", func(a *arena) {
		c := a.login()
		for _, name := range []string{"&AGE-", "&", "&&-", "&2AA-", "&3AA-", "&AAA-", "&AC8-", "&AC4-", "&A", "&AGE", "a&b", "&ZeU-&Z,U-", "\xff\xfe", "پیک\xff"} {
			a.want(c, "CREATE "+imapwire.Lit(name), "NO", "BAD")
		}
		a.want(c, "CREATE "+imapwire.Lit("پیک"), "OK") // clients of IMAP4rev2 write so; it is one mailbox
		a.want(c, "CREATE &Bn4GzAap-", "NO")
		dir := filepath.Join(a.s.Env["PEYK_MAILDIR1"], ".bad\xff&AGE-")
		os.MkdirAll(filepath.Join(dir, "cur"), 0o700)
		defer os.RemoveAll(dir)
		found := false
		for _, r := range a.want(c, "LIST \"\" *", "OK").Data {
			found = found || r.Kind == "LIST" && r.Args[2].Text == "INBOX"
		}
		if !found {
			a.Error("a bad name on disk hides INBOX")
		}
	}},
	{"74 pieces of sections", func(a *arena) {
		c, _ := a.folder("Subject: x\n\nbody\n")
		a.want(c, "FETCH 1 BODY[]<0.0>", "BAD")
		a.want(c, "FETCH 1 BODY[]<18446744073709551615.1>", "BAD")
		a.want(c, "FETCH 1 BODY[]<1.18446744073709551616>", "BAD")
		a.want(c, "FETCH 1 BODY[]<-1.5>", "BAD")
		if v := a.item(c, "BODY.PEEK[]<4294967295.4294967295>", "BODY[]<4294967295>"); v.Text != "" {
			a.Errorf("got %q", v.Text)
		}
		if v := a.item(c, "BODY.PEEK[]<14.9223372036854775807>", "BODY[]<14>"); v.Text != "body\r\n" {
			a.Errorf("got %q", v.Text)
		}
	}},
	{"75 sets of messages", func(a *arena) {
		c, _ := a.folder("Subject: x\n\nbody\n")
		for _, set := range []string{"0", "4294967296", "1:0", "0:*", "1,,1", "1:", ":1", "1:2:3", "-1", "$x"} {
			a.want(c, "UID FETCH "+set+" FLAGS", "BAD")
		}
		for _, set := range []string{"1:4294967295", "*:*", "4294967295:*", "*:1"} {
			a.want(c, "UID FETCH "+set+" FLAGS", "OK")
		}
		a.soon(func() { a.want(c, "UID SEARCH UID "+strings.Repeat("1:4294967295,", 4000)+"1", "OK") })
		a.soon(func() { a.want(c, "UID FETCH "+strings.Repeat("1:4294967295,", 100_000)+"1 FLAGS", "BAD", "BYE") })
	}},
	{"76 a search that costs much leaves others their turn", func(a *arena) {
		body := strings.Repeat("the quick brown fox jumps over the lazy dog\n", 100)
		texts := make([]string, large(300, 10_000))
		for i := range texts {
			texts[i] = fmt.Sprintf("Subject: %d\n\n%s", i, body)
		}
		c, _ := a.folder(texts...)
		a.want(c, "SEARCH "+strings.Repeat("NOT ", 1000)+"TEXT zz", "BAD")
		other := a.login()
		tag, _ := c.Send("SEARCH " + anyOf(0, large(60, 1000)))
		ended := make(chan error, 1)
		go func() {
			answer, err := c.Finish(tag)
			if err == nil && answer.Kind != "OK" && answer.Code != "LIMIT" {
				err = fmt.Errorf("%s [%s] %s", answer.Kind, answer.Code, answer.Text)
			}
			ended <- err
		}()
		var waits []time.Duration
		a.costs("the search", func() {
			for n := 0; ; n++ {
				select {
				case err := <-ended:
					if err != nil {
						a.Errorf("the search: %v", err)
					}
					if n >= 20 {
						return
					}
					ended <- nil
				default:
				}
				start := time.Now()
				a.want(other, "NOOP", "OK")
				waits = append(waits, time.Since(start))
			}
		})
		slices.Sort(waits)
		a.Logf("%d times NOOP meanwhile: median %v, 99 of 100 below %v", len(waits), waits[len(waits)/2], waits[len(waits)*99/100])
	}},
	{"77 one thread of thousands, and a cycle", func(a *arena) {
		texts := []string{"Message-ID: <a@x>\nReferences: <b@x>\n\n", "Message-ID: <b@x>\nReferences: <a@x>\n\n", "Message-ID: <c@x>\nReferences: <c@x>\n\n"}
		for i := range large(3000, 100_000) {
			texts = append(texts, fmt.Sprintf("Message-ID: <%d@x>\nReferences: <%d@x>\nSubject: Re: re\n\n", i+1, i))
		}
		c, _ := a.folder(texts...)
		a.costs("THREAD REFERENCES, cold", func() { a.want(c, "THREAD REFERENCES UTF-8 ALL", "OK") })
		a.costs("THREAD REFS", func() { a.want(c, "THREAD REFS UTF-8 ALL", "OK") })
		a.costs("THREAD REFERENCES", func() { a.want(c, "THREAD REFERENCES UTF-8 ALL", "OK") })
		a.costs("THREAD ORDEREDSUBJECT", func() { a.want(c, "THREAD ORDEREDSUBJECT UTF-8 ALL", "OK") })
		a.costs("SORT (SUBJECT)", func() { a.want(c, "SORT (SUBJECT) UTF-8 ALL", "OK") })
	}},
	{"78 charsets of a search", func(a *arena) {
		c, _ := a.folder("Subject: x\n\nbody\n")
		for _, charset := range []string{"UTF-7", "X-NONE", "\"\"", strings.Repeat("c", 500)} {
			a.want(c, "SEARCH CHARSET "+charset+" SUBJECT x", "NO [BADCHARSET]", "BAD")
		}
		a.want(c, "SEARCH TEXT "+imapwire.Lit(strings.Repeat("x", 1<<20)), "BAD", "NO", "BYE")
	}},
	{"79 something else than DONE ends IDLE", func(a *arena) {
		c := a.login()
		tag, _ := c.Send("IDLE")
		if r, err := c.Next(); err != nil || r.Tag != "+" {
			a.Fatal(r, err)
		}
		io.WriteString(c.Conn, "x LOGOUT\r\n")
		if answer, err := c.Finish(tag); err != nil || answer.Kind != "BAD" {
			a.Errorf("got %v, %v", answer, err)
		}
		a.want(c, "NOOP", "OK")
	}},
	{"101 a bomb under COMPRESS", func(a *arena) {
		c := a.login()
		a.want(c, "COMPRESS DEFLATE", "OK")
		a.small(24, func() {
			var bomb bytes.Buffer
			w, _ := flate.NewWriter(&bomb, 9)
			io.WriteString(w, "b NOOP "+strings.Repeat("x", 64<<20)+"\r\n")
			w.Flush()
			go c.Conn.Write(bomb.Bytes())
			c.Reset(flate.NewReader(c.Conn))
			for {
				r, err := c.Next()
				if err != nil || r.Kind == "BYE" || r.Kind == "BAD" {
					break
				}
			}
		})
	}},
	{"102 names at login are names", func(a *arena) {
		for _, name := range []string{imapwire.Lit("a\x00b"), imapwire.Lit(strings.Repeat("u", 64<<10)), `"%u"`, `"*"`, `"$HOME"`, `"../bob"`, `"alice@example.test/../bob"`, `"` + strings.Repeat("x", 4000) + `@example.test"`} {
			a.want(a.stranger(), "LOGIN "+name+" secret", "NO", "BAD", "BYE")
		}
	}},
}

// manySections asks for almost the whole header so many times.
func manySections(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("BODY.PEEK[HEADER.FIELDS.NOT (A%d)]<0.100>", i)
	}
	return strings.Join(all, " ")
}

var attacksByMail = []attack{
	{"81 ten thousand parts in one another", func(a *arena) {
		rfc822 := strings.Repeat("Content-Type: message/rfc822\n\n", 10_000) + "end\n"
		var multi strings.Builder
		for i := range 10_000 {
			fmt.Fprintf(&multi, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
		}
		c, _ := a.folder(rfc822, multi.String()+"\nend\n")
		a.costs("FETCH", func() {
			answer := a.want(c, "FETCH 1:2 (BODY BODYSTRUCTURE ENVELOPE)", "OK")
			for _, r := range answer.Data {
				// A hundred levels and what a leaf has; our reader puts the parts of a
				// multipart into a list of their own.
				if v, ok := r.Item("BODYSTRUCTURE"); ok && (depth(v) < 100 || depth(v) > 210) {
					a.Errorf("message %d is nested %d deep", r.Num, depth(v))
				}
			}
		})
		if v := a.item(c, "BODY.PEEK[]", "BODY[]"); v.Text != strings.ReplaceAll(rfc822, "\n", "\r\n") {
			a.Error("the message does not come back as it is")
		}
		a.want(c, "FETCH 1 BODY["+strings.Repeat("1.", 200)+"1]", "OK", "BAD")
		a.want(c, "FETCH 1 BODY["+strings.Repeat("1.", 20_000)+"1]", "BAD")
	}},
	{"82 a hundred thousand parts beside one another", func(a *arena) {
		c, _ := a.folder("Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 100_000) + "--b--\n")
		a.soon(func() {
			if v := a.item(c, "BODY", "BODY"); len(v.List) == 0 || len(v.List[0].List) > 10_000 {
				a.Errorf("%d parts", len(v.List))
			}
		})
		a.want(c, "FETCH 1 BODY[9000]", "OK")
	}},
	{"83 boundaries that begin alike, are long, or missing", func(a *arena) {
		alike, lines := "", ""
		for i := 1; i < 200; i++ {
			b := strings.Repeat("a", i)
			alike += "Content-Type: multipart/mixed; boundary=" + b + "\n\n--" + b + "\n"
			lines += "--" + b + "x\n"
		}
		same := strings.Repeat("Content-Type: multipart/mixed; boundary=s\n\n--s\n", 5000)
		long := "Content-Type: multipart/mixed; boundary=\"" + strings.Repeat("l", 1<<20) + "\"\n\n" + strings.Repeat("--"+strings.Repeat("l", 1000)+"\n", 1000)
		c, _ := a.folder(alike+"\n"+strings.Repeat(lines, 50), same+"\nx\n", long, "Content-Type: multipart/mixed\n\n--\n--\n", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx\n----\n")
		a.soon(func() { a.want(c, "FETCH 1:* (BODYSTRUCTURE BODY.PEEK[1] BODY.PEEK[TEXT])", "OK") })
	}},
	{"84 a header of 24 megabytes, or 100", func(a *arena) {
		text := "Subject: s\n" + strings.Repeat("X-Field: "+strings.Repeat("v", 990)+"\n", large(24_000, 100_000)) + "\nbody\n"
		c, _ := a.folder(text)
		a.small(40, func() {
			a.costs("FETCH", func() {
				a.want(c, "FETCH 1 (ENVELOPE BODYSTRUCTURE RFC822.SIZE)", "OK")
				a.want(c, "FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "OK")
			})
			a.costs("SEARCH", func() { a.want(c, "SEARCH SUBJECT s", "OK") })
			a.costs("HEADER.FIELDS.NOT, a hundred times", func() { a.want(c, "FETCH 1 ("+manySections(100)+")", "OK") })
		})
		if v := a.item(c, "BODY.PEEK[]", "BODY[]"); v.Text != strings.ReplaceAll(text, "\n", "\r\n") {
			a.Error("the message does not come back as it is")
		}
	}},
	{"85 encoded words without end", func(a *arena) {
		c, _ := a.folder("Subject: "+strings.Repeat("=?utf-8?q?", 80_000)+"\n\nx\n", "Subject: "+strings.Repeat("=?utf-8?q?=00=0D=0ABcc:_x?= =?koi8-r?b?8A==?= ", 5000)+"\nFrom: =?utf-8?q?=0D=0A*_1_EXPUNGE?= <a@b>\n\nx\n")
		a.soon(func() {
			a.want(c, "FETCH 1:2 (ENVELOPE BODY.PEEK[HEADER])", "OK")
			a.want(c, "SEARCH SUBJECT nothing", "OK")
			a.do(c, "SORT (SUBJECT FROM) UTF-8 ALL")
			a.do(c, "FETCH 1:2 PREVIEW")
		})
	}},
	{"86 parameters in a hundred thousand pieces", func(a *arena) {
		var b strings.Builder
		for i := range 100_000 {
			fmt.Fprintf(&b, "; filename*%d*=utf-8''%%41", i)
		}
		c, _ := a.folder("Content-Disposition: attachment"+b.String()+"\n\nx\n", "Content-Type: text/plain; a*0=x; a*0=y; a*9=z; a*99999999999999999999=q; a*=bomb''%%%; b*0*=utf-7'x'%2B\n\nx\n")
		a.soon(func() { a.want(c, "FETCH 1:2 BODYSTRUCTURE", "OK") })
	}},
	{"87 addresses of comments, groups and brackets", func(a *arena) {
		c, _ := a.folder("From: "+strings.Repeat("(", 100_000)+"\nTo: "+strings.Repeat("(c)", 100_000)+" a@b\n\nx\n", "To: "+strings.Repeat("g:", 50_000)+"a@b;\nCc: a@["+strings.Repeat("a", 256<<10)+"]\n\nx\n",
			"To: "+strings.Repeat("\"\\", 100_000)+"\nCc: "+strings.Repeat("<", 100_000)+"\nBcc: "+strings.Repeat("a@b,", 100_000)+"\n\nx\n")
		a.soon(func() { a.want(c, "FETCH 1:* ENVELOPE", "OK") })
	}},
	{"88 message/partial is not followed", func(a *arena) {
		c, _ := a.folder("Message-ID: <p@x>\nContent-Type: message/partial; id=\"p@x\"; number=1; total=1\n\nContent-Type: message/partial; id=\"p@x\"; number=1; total=1\n\nx\n")
		if v := a.item(c, "BODY", "BODY"); len(v.List) < 7 || !strings.EqualFold(v.List[1].Text, "partial") {
			a.Errorf("structure %s", v)
		}
	}},
	{"89 a large part is searched as a stream", func(a *arena) {
		c, dir := a.folder()
		file, err := os.Create(filepath.Join(dir, "cur", "1700000000.M1P1.h:2,"))
		if err != nil {
			a.Fatal(err)
		}
		io.WriteString(file, "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n")
		lines := strings.Repeat(strings.Repeat("QUFB", 19)+"\n", 10_000) // 570,000 octets of text
		for range large(40, 1900) {
			io.WriteString(file, lines)
		}
		if _, err := io.WriteString(file, "bmVlZGxl\n"); err != nil {
			a.Fatal(err)
		}
		file.Close()
		defer os.Remove(file.Name())
		a.want(c, "NOOP", "OK")
		a.small(32, func() {
			a.costs("SEARCH BODY", func() { a.want(c, "SEARCH BODY nothing", "OK", "NO [LIMIT]") })
			a.costs("FETCH BODYSTRUCTURE", func() { a.want(c, "FETCH 1 BODYSTRUCTURE", "OK") })
		})
	}},
	{"90 messages that are hardly any", func(a *arena) {
		texts := []string{"", "\n", "\x00", "x", "\r", "\r\n\r\n", "From a@b Mon Jan  1 00:00:00 2024\nSubject: x\n\nb\n", "\n\n\n", ":\n", "\xff\xfe\x00", strings.Repeat("\x00", 5000), "Subject", " \n", "a: b"}
		c, _ := a.folder(texts...)
		n := 0
		for _, r := range a.want(c, "FETCH 1:* (UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[] INTERNALDATE FLAGS)", "OK").Data {
			if r.Kind == "FETCH" {
				n++
			}
		}
		if n != len(texts) {
			a.Errorf("%d messages of %d", n, len(texts))
		}
		a.want(c, "SEARCH TEXT x", "OK")
		a.want(c, "COPY 1:* Trash90", "NO [TRYCREATE]")
	}},
	{"103 texts that try to leave their place", func(a *arena) {
		for _, text := range []string{`" UID 9 "`, `\`, `)`, "{5}", "a\r b", "a\x00b", "\xff", "پیک", "\"\r\n * 1 EXPUNGE"} {
			field := strings.ReplaceAll(text, "\n", "\n ")
			c, _ := a.folder("Subject: " + field + "\nFrom: \"" + field + "\" <a@b>\nMessage-ID: <" + field + ">\nContent-Type: x/y; n=\"" + field + "\"\n\n" + text)
			a.want(c, "FETCH 1 (ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER] BODY.PEEK[TEXT])", "OK")
			a.do(c, "FETCH 1 PREVIEW")
		}
	}},
}

// sample is a message with a number.
func sample(i int) string { return fmt.Sprintf("Subject: sample %d\n\nbody of %d\n", i, i) }

func samples(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = sample(i)
	}
	return all
}

// uids returns which subject each UID has, and the UIDVALIDITY.
func (a *arena) uids(box string) (validity uint64, subjects map[uint64]string) {
	a.Helper()
	c := a.login()
	subjects = map[uint64]string{}
	for _, r := range a.want(c, "EXAMINE "+box, "OK").Data {
		if r.Code == "UIDVALIDITY" {
			validity = r.CodeArgs[0].Num()
		}
	}
	for _, r := range a.do(c, "FETCH 1:* (UID BODY.PEEK[TEXT])").Data {
		uid, _ := r.Item("UID")
		text, ok := r.Item("BODY[TEXT]")
		if ok {
			subjects[uid.Num()] = text.Text
		}
	}
	return validity, subjects
}

func (a *arena) validity(box string) uint64 {
	a.Helper()
	v, _ := a.uids(box)
	return v
}

// answered changes \\Answered of the first three messages of a folder many
// times, as another process of ours does, and leaves it set.
func (a *arena) answered(box string, rounds int) {
	host, err := mailbox.NewHost(mailbox.Options{Disk: new(commit.Disk), Now: time.Now, Rand: rand.Reader, Hostname: "other"})
	if err != nil {
		a.Error(err)
		return
	}
	defer host.Close()
	account, err := host.Open(a.s.Env["PEYK_MAILDIR1"])
	if err != nil {
		a.Error(err)
		return
	}
	defer account.Close()
	f, err := account.Folder(box)
	if err != nil {
		a.Error(err)
		return
	}
	defer f.Close()
	if _, err := f.Refresh(context.Background()); err != nil {
		a.Error(err)
		return
	}
	for i := range 2*(rounds/2) + 1 {
		change := mailbox.Change{Op: mailbox.Add, Flags: mailbox.Answered}
		if i%2 == 1 {
			change.Op = mailbox.Remove
		}
		if _, err := f.Store([]uint32{1, 2, 3}, change); err != nil {
			a.Errorf("the other process: %v", err)
			return
		}
	}
}

var attacksOnFiles = []attack{
	{"93 a uidlist that is gone, cut or bent", func(a *arena) {
		for name, harm := range map[string]func(string, []byte) error{
			"gone":     func(path string, _ []byte) error { return os.Remove(path) },
			"empty":    func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
			"cut":      func(path string, text []byte) error { return os.WriteFile(path, text[:len(text)*2/3], 0o600) },
			"bent":     func(path string, text []byte) error { text[3] ^= 0x20; return os.WriteFile(path, text, 0o600) },
			"zeroes":   func(path string, text []byte) error { return os.WriteFile(path, make([]byte, len(text)), 0o600) },
			"no magic": func(path string, text []byte) error { text[0] = 'x'; return os.WriteFile(path, text, 0o600) },
		} {
			c, dir := a.folder(samples(20)...)
			c.Close()
			box := strings.TrimPrefix(filepath.Base(dir), ".")
			before, was := a.uids(box)
			list := filepath.Join(dir, "dovecot-uidlist")
			text, err := os.ReadFile(list)
			if err != nil {
				a.Fatal(err)
			}
			if err := harm(list, text); err != nil {
				a.Fatal(err)
			}
			after, is := a.uids(box)
			if len(is) != len(was) {
				a.Errorf("%s: %d messages of %d", name, len(is), len(was))
			}
			if after < before || after == before && !agree(was, is) {
				a.Errorf("%s: UIDVALIDITY %d after %d, and UIDs mean other messages", name, after, before)
			}
		}
	}},
	{"94 an older uidlist comes back", func(a *arena) {
		c, dir := a.folder(samples(5)...)
		box := strings.TrimPrefix(filepath.Base(dir), ".")
		list := filepath.Join(dir, "dovecot-uidlist")
		before := a.validity(box)
		old, err := os.ReadFile(list)
		if err != nil {
			a.Fatal(err)
		}
		a.want(c, `STORE 1:3 +FLAGS (\Deleted)`, "OK")
		a.want(c, "EXPUNGE", "OK")
		for i := range 5 {
			a.want(c, "APPEND "+box+" "+imapwire.Lit(strings.ReplaceAll(sample(100+i), "\n", "\r\n")), "OK")
		}
		c.Close()
		_, was := a.uids(box)
		if err := os.WriteFile(list, old, 0o600); err != nil {
			a.Fatal(err)
		}
		after, is := a.uids(box)
		if after == before && !agree(was, is) {
			a.Errorf("UIDVALIDITY is still %d, and UIDs mean other messages: %v, then %v", after, was, is)
		}
		if len(is) != len(was) {
			a.Errorf("%d messages of %d", len(is), len(was))
		}
	}},
	{"95 two sessions, and another process, and their flags", func(a *arena) {
		c, dir := a.folder(samples(3)...)
		box := strings.TrimPrefix(filepath.Base(dir), ".")
		d := a.login()
		a.want(d, "SELECT "+box, "OK")
		rounds := large(200, 34_000)
		var all sync.WaitGroup
		for client, flag := range map[*imapwire.Client]string{c: `\Flagged`, d: "kw"} {
			all.Go(func() {
				for i := range rounds {
					client.SetDeadline(time.Now().Add(patience))
					if a.want(client, "STORE 1:3 "+[]string{"+", "-"}[i%2]+"FLAGS.SILENT ("+flag+")", "OK").Kind == "BYE" {
						return
					}
				}
				a.want(client, "STORE 1:3 +FLAGS.SILENT ("+flag+")", "OK")
			})
		}
		all.Go(func() { a.answered(box, rounds) })
		a.costs("STORE", all.Wait)
		a.want(c, "NOOP", "OK")
		for _, r := range a.want(c, "FETCH 1:3 FLAGS", "OK").Data {
			for _, flag := range []string{"kw", `\Flagged`, `\Answered`} {
				if v, ok := r.Item("FLAGS"); ok && !strings.Contains(v.String(), flag) {
					a.Errorf("message %d has %s", r.Num, v)
				}
			}
		}
	}},
	{"96 keywords: too many, too long, not allowed", func(a *arena) {
		c, dir := a.folder(samples(2)...)
		kept := []string{}
		for i := range 40 {
			name := fmt.Sprintf("kw%d", i)
			if a.want(c, "STORE 1 +FLAGS ("+name+")", "OK", "NO", "NO [LIMIT]").Kind == "OK" {
				kept = append(kept, name)
			}
		}
		for _, name := range []string{`\Foo`, "a]", "a(b", `a"b`, "a\x00", "{1}", "%", "*", `\`} {
			a.want(c, "STORE 2 +FLAGS ("+name+")", "BAD", "NO")
		}
		a.want(c, "STORE 2 +FLAGS ("+strings.Repeat("k", 1024)+")", "OK", "NO", "BAD", "NO [LIMIT]")
		a.want(c, "SELECT "+strings.TrimPrefix(filepath.Base(dir), "."), "OK")
		has := a.item(c, "FLAGS", "FLAGS").String() + " "
		for _, name := range kept {
			if !strings.Contains(strings.ReplaceAll(has, ")", " "), name+" ") {
				a.Errorf("%s was taken and is not there: %s", name, has)
			}
		}
	}},
	{"97 files that are renamed all the time are never gone", func(a *arena) {
		c, dir := a.folder(samples(300)...)
		stop := make(chan struct{})
		var storm sync.WaitGroup
		storm.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				all, _ := filepath.Glob(filepath.Join(dir, "cur", "*"))
				for _, path := range all {
					d, name := filepath.Split(path)
					os.Rename(path, d+toggled(name))
				}
			}
		})
		a.costs("NOOP", func() {
			for range large(100, 10_000) {
				for _, r := range a.want(c, "NOOP", "OK").Data {
					if r.Kind == "EXPUNGE" {
						a.Errorf("EXPUNGE %d", r.Num)
					}
				}
			}
		})
		close(stop)
		storm.Wait()
	}},
	{"98 a file that vanishes before it is fetched", func(a *arena) {
		c, dir := a.folder(samples(3)...)
		all, _ := filepath.Glob(filepath.Join(dir, "cur", "*"))
		os.Remove(all[1])
		a.want(c, "FETCH 1:3 BODY.PEEK[]", "OK", "NO [EXPUNGEISSUED]")
		a.want(c, "NOOP", "OK")
		a.want(c, "FETCH 1:2 BODY.PEEK[]", "OK")
	}},
	{"99 dates and sizes of APPEND", func(a *arena) {
		c, dir := a.folder(sample(1))
		box := strings.TrimPrefix(filepath.Base(dir), ".")
		text := imapwire.Lit("Subject: x\r\n\r\n")
		for _, date := range []string{"31-Dec-2099 23:59:59 +0000", " 1-Jan-1970 00:00:00 +1400", "29-Feb-2024 00:00:00 -1200", "31-Dec-2016 23:59:59 +0000"} {
			a.want(c, "APPEND "+box+` "`+date+`" `+text, "OK")
		}
		for _, date := range []string{"29-Feb-2023 00:00:00 +0000", "32-Jan-2020 00:00:00 +0000", "01-Foo-2020 00:00:00 +0000", "01-Jan-2020 24:00:00 +0000", "01-Jan-2020 00:00:00 +9900", "1-Jan-2020 00:00:00 +0000", "", "yesterday"} {
			a.want(c, "APPEND "+box+` "`+date+`" `+text, "BAD")
		}
		a.want(c, "APPEND "+box+" {0+}\r\n", "NO", "BAD")
		a.want(c, "APPEND "+box+" "+text+" "+text+" (\\Bad", "BAD")
		if _, is := a.uids(box); len(is) != 5 {
			a.Errorf("%d messages, want 5: what was refused must leave nothing", len(is))
		}
	}},
	{"100 a mailbox that is full", func(a *arena) {
		if _, err := a.s.Mailctl("pass-word-100\n", "user", "add", "-quota", "10K", "full@example.test"); err != nil {
			a.Skip(err)
		}
		c := a.stranger()
		a.want(c, "LOGIN full@example.test pass-word-100", "OK")
		a.want(c, "APPEND INBOX "+imapwire.Lit(strings.Repeat("x: y\r\n", 500)), "OK")
		a.want(c, "APPEND INBOX "+imapwire.Lit(strings.Repeat("x: y\r\n", 3000)), "NO [OVERQUOTA]")
		a.want(c, "SELECT INBOX", "OK")
		for range 5 {
			a.do(c, "COPY 1:* INBOX")
		}
		a.want(c, "COPY 1:* INBOX", "NO [OVERQUOTA]")
	}},
}

// agree reports whether no UID stands for two messages.
func agree(a, b map[uint64]string) bool {
	for uid, text := range a {
		if other, ok := b[uid]; ok && other != text {
			return false
		}
	}
	return true
}

// clean makes bob's INBOX hold exactly these messages.
func (a *arena) clean(messages ...string) string {
	a.Helper()
	root := a.s.Env["PEYK_MAILDIR2"]
	for _, path := range sandbox.Mail(root) {
		os.Remove(path)
	}
	os.MkdirAll(filepath.Join(root, "cur"), 0o700)
	for i, text := range messages {
		a.n++
		name := fmt.Sprintf("%d.M%dQ%dP1.h:2,S", 1_700_000_000+i, i, time.Now().UnixNano())
		if err := os.WriteFile(filepath.Join(root, "cur", name), []byte(text), 0o600); err != nil {
			a.Fatal(err)
		}
	}
	return root
}

// no sends a POP3 command that must be refused.
func (a *arena) no(c *line, command string) {
	a.Helper()
	if s, err := c.ask(command); err == nil {
		a.Errorf("%.100q: %q", command, s)
	}
}

// lines reads a POP3 answer of several lines.
func (a *arena) lines(c *line, command string) []string {
	a.Helper()
	c.pop(a, command)
	var all []string
	for {
		s, err := c.r.ReadString('\n')
		if err != nil {
			a.Fatal(err)
		}
		if s == ".\r\n" {
			return all
		}
		all = append(all, strings.TrimSuffix(s, "\r\n"))
	}
}

var attacksOnPOP3 = []attack{
	{"104 a command behind STLS in one segment is not run", func(a *arena) {
		c, err := dial(a.s.Env["PEYK_POP3"])
		if err != nil {
			a.Fatal(err)
		}
		defer c.Close()
		c.pop(a, "")
		io.WriteString(c, "STLS\r\nUSER x\r\n")
		c.pop(a, "")
		over := tls.Client(c.Conn, trusted(a, a.s))
		if over.Handshake() != nil {
			return
		}
		io.WriteString(over, "NOOP\r\n")
		b := make([]byte, 100)
		if n, _ := over.Read(b); strings.HasPrefix(string(b[:n]), "+OK") {
			a.Errorf("got %q", b[:n])
		}
	}},
	{"105 who goes without QUIT deletes nothing", func(a *arena) {
		root := a.clean(samples(10)...)
		c := popLogin(a, a.s, 2)
		for i := range 10 {
			c.pop(a, fmt.Sprint("DELE ", i+1))
		}
		c.Close()
		again := popLogin(a, a.s, 2)
		if got := again.pop(a, "STAT"); !strings.HasPrefix(got, "+OK 10 ") || len(sandbox.Mail(root)) != 10 {
			a.Errorf("got %q", got)
		}
		again.pop(a, "QUIT")
	}},
	{"106 numbers that no message has", func(a *arena) {
		a.clean(samples(2)...)
		c := popLogin(a, a.s, 2)
		c.pop(a, "DELE 2")
		for _, command := range []string{"RETR 0", "RETR -1", "RETR 18446744073709551616", "RETR 2", "RETR 3", "RETR", "RETR x", "RETR 1 1", "LIST 0", "LIST 2", "UIDL 2", "DELE 2", "TOP 1", "TOP 1 -1", "TOP 2 1"} {
			a.no(c, command)
		}
		if _, err := c.ask("TOP 1 999999999999"); err == nil {
			for {
				if s, err := c.r.ReadString('\n'); err != nil || s == ".\r\n" {
					break
				}
			}
		}
		c.pop(a, "NOOP")
	}},
	{"107 dots come back", func(a *arena) {
		text := "Subject: dots\n\n.\n..\n...\n.a\n.\t\n\n.\n"
		a.clean(text)
		c := popLogin(a, a.s, 2)
		if got := string(c.popBody(a, 1)); got != strings.ReplaceAll(text, "\n", "\r\n") {
			a.Errorf("got %q", got)
		}
	}},
	{"108 two sessions delete the same messages", func(a *arena) {
		root := a.clean(samples(6)...)
		one := popLogin(a, a.s, 2)
		two, err := dialTLS(a.s.Env["PEYK_POP3S"], trusted(a, a.s))
		if err != nil {
			a.Fatal(err)
		}
		defer two.Close()
		two.pop(a, "")
		two.pop(a, "USER "+a.s.Env["PEYK_USER2"])
		_, inUse := two.ask("PASS " + a.s.Env["PEYK_PASS2"])
		for _, c := range []*line{one, two} {
			if c == two && inUse != nil {
				continue
			}
			for i := range 3 {
				c.pop(a, fmt.Sprint("DELE ", i+1))
			}
		}
		one.pop(a, "QUIT")
		if inUse == nil {
			two.ask("QUIT")
		}
		if n := len(sandbox.Mail(root)); n != 3 {
			a.Errorf("%d messages are left, want 3 (%v)", n, inUse)
		}
	}},
	{"109 UIDL stays, whatever imapd and the clock do", func(a *arena) {
		root := a.clean(samples(5)...)
		c := popLogin(a, a.s, 2)
		before := a.lines(c, "UIDL")
		c.pop(a, "QUIT")
		i, err := imapwire.Dial(a.s.Env["PEYK_IMAPS"], trusted(a, a.s), patience)
		if err != nil {
			a.Fatal(err)
		}
		defer i.Close()
		a.want(i, "LOGIN "+a.s.Env["PEYK_USER2"]+" "+a.s.Env["PEYK_PASS2"], "OK")
		a.want(i, "SELECT INBOX", "OK")
		a.want(i, `STORE 1:* +FLAGS (\Flagged)`, "OK")
		a.do(i, "CREATE Elsewhere")
		a.want(i, "MOVE 2 Elsewhere", "OK")
		for _, path := range sandbox.Mail(root) {
			os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0))
		}
		again := popLogin(a, a.s, 2)
		after := a.lines(again, "UIDL")
		kept := map[string]bool{}
		for _, l := range before {
			kept[l[strings.IndexByte(l, ' ')+1:]] = true
		}
		for _, l := range after {
			if !kept[l[strings.IndexByte(l, ' ')+1:]] {
				a.Errorf("%q was not there: %q", l, before)
			}
		}
		if len(after) != 4 {
			a.Errorf("%q, then %q", before, after)
		}
	}},
	{"110 long lines and much of nothing before login", func(a *arena) {
		for _, first := range []string{"USER " + strings.Repeat("x", 600), "APOP " + strings.Repeat("x", 100_000), strings.Repeat("NOOP\r\n", 10_000)} {
			c, err := dialTLS(a.s.Env["PEYK_POP3S"], trusted(a, a.s))
			if err != nil {
				a.Fatal(err)
			}
			c.pop(a, "")
			go io.WriteString(c, first+"\r\n")
			for n := 0; ; n++ {
				s, err := c.r.ReadString('\n')
				if err != nil || !strings.Contains(first, "NOOP") {
					if strings.HasPrefix(s, "+OK") {
						a.Errorf("%.50q: %q", first, s)
					}
					break
				}
				if n > 1000 {
					a.Errorf("%d refused commands, and still there", n)
					break
				}
			}
			c.Close()
		}
	}},
}

// unix connects to a socket.
func (a *arena) unix(path string) *line {
	a.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &line{conn, bufio.NewReaderSize(conn, 64<<10)}
}

// lmtp connects to deliver.
func (a *arena) lmtp() *line {
	a.Helper()
	c := a.unix(a.s.Env["PEYK_LMTP"])
	if _, err := c.reply("220"); err != nil {
		a.Fatal(err)
	}
	return c
}

var attacksOnLMTP = []attack{
	{"111 each recipient has its reply, in order", func(a *arena) {
		broken := filepath.Join(filepath.Dir(filepath.Dir(a.s.Env["PEYK_MAILDIR1"])), "broken")
		if _, err := a.s.Mailctl("secret\n", "user", "add", "broken@example.test"); err != nil {
			a.Fatal(err)
		}
		os.RemoveAll(broken)
		os.WriteFile(broken, nil, 0o600) // no directory can be made here
		c := a.lmtp()
		for _, step := range []struct{ command, want string }{{"LHLO x", "250"}, {"MAIL FROM:<a@b.example>", "250"}, {"RCPT TO:<" + a.s.Env["PEYK_USER1"] + ">", "250"},
			{"RCPT TO:<nobody-here@example.test>", "550"}, {"RCPT TO:<broken@example.test>", "250"}, {"RCPT TO:<" + a.s.Env["PEYK_USER2"] + ">", "250"}, {"DATA", "354"}} {
			if got, err := c.do(step.command, step.want); err != nil {
				a.Fatal(step.command, got, err)
			}
		}
		io.WriteString(c, "Subject: 111\r\n\r\nbody\r\n.\r\n")
		for i, want := range []string{"250", "4", "250"} {
			if got, err := c.reply(want); err != nil {
				a.Errorf("reply %d: %q, want %s", i, got, want)
			}
		}
	}},
	{"114 each greeting has its protocol", func(a *arena) {
		c := a.lmtp()
		for _, command := range []string{"HELO x", "EHLO x"} {
			if got, err := c.do(command, "500"); err != nil {
				a.Errorf("%s: %q", command, got)
			}
		}
		smtp, err := dial(a.s.Env["PEYK_SMTP"])
		if err != nil {
			a.Fatal(err)
		}
		defer smtp.Close()
		if _, err := smtp.reply("220"); err != nil {
			a.Fatal(err)
		}
		if got, err := smtp.do("LHLO x", "500"); err != nil {
			a.Errorf("LHLO: %q", got)
		}
	}},
}
