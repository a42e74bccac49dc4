package crash_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"peyk/test/crash/supervise"
	"peyk/test/imapwire"
)

// An imapPath is one command of a session.
type imapPath struct {
	name    string
	before  []string // unwatched
	command string
	after   []string // watched, and of no account
	again   []string // what is sent to try again, where it is not before and command
	atomic  bool
	quiet   bool // no message leaves: an EXPUNGE would be a false one
	size    int  // messages in INBOX
	new     int  // messages in new/
	looks   bool
	looseOK bool // a second try may find it done already
	set     []string
	login   bool // the session logs in, as alice
}

// A session is an imapd with one connection.
type session struct {
	*imapwire.Client
	p    *supervise.Process
	conn net.Conn
}

func (w *world) maildir() string { return w.dir + "/mail/example.test/alice/Maildir" }

func (w *world) session(fault supervise.Fault, p imapPath) (*session, error) {
	conn, theirs := w.socketpair()
	args := []string{"-preauth", w.maildir()}
	if p.login { // a password in the clear needs an address that may send one
		conn.Close()
		theirs.Close()
		conn, theirs = w.tcpPair()
		args = []string{"-stdin"}
	}
	s := &session{p: w.start(fault, p.looks, theirs, "imapd", args...), conn: conn}
	theirs.Close()
	c, err := imapwire.New(conn, patience)
	if err != nil {
		s.end()
		return nil, err
	}
	s.Client = c
	if p.login {
		_, err = ask(c, "LOGIN alice@example.test secret")
	}
	return s, err
}

// end closes the connection and waits for the process.
func (s *session) end() bool {
	s.conn.Close()
	ended, _ := s.p.WaitFor(patience)
	return ended
}

// begin sends what comes before the command that is watched.
func (s *session) begin(commands []string) error {
	for _, command := range commands {
		if _, err := ask(s.Client, command); err != nil {
			return err
		}
	}
	return nil
}

// A lesson is what a path does without a fault.
type lesson struct{ before, after account }

func (p imapPath) path() path {
	return path{name: "imap " + p.name, looks: p.looks, settings: p.set, prepare: p.prepare, learn: p.learn, try: p.try}
}

func (p imapPath) prepare(w *world) {
	w.fill(w.maildir(), max(p.size, 5))
	if _, err := w.look(w.maildir()); err != nil {
		w.Fatal(err)
	}
	for i := range p.new {
		w.write(fmt.Sprintf("%s/new/%d.M%dP2.h", w.maildir(), 1_750_000_000+i, i), fmt.Sprintf("Subject: new %d\n\nNew.\n", i))
	}
}

func (p imapPath) learn(w *world) any {
	w.Helper()
	var l lesson
	var err error
	if p.new > 0 { // what has no UID yet may get another one than without a fault
		os.RemoveAll(w.maildir() + "/new")
		os.Mkdir(w.maildir()+"/new", 0o700)
	}
	if l.before, err = w.look(w.maildir()); err != nil {
		w.Fatal(err)
	}
	w.reset("imap " + p.name)
	s, err := w.session(supervise.Fault{}, p)
	if err != nil {
		w.Fatal(err)
	}
	if err := s.begin(append(append(p.before[:len(p.before):len(p.before)], p.command), p.after...)); err != nil {
		w.Fatalf("without a fault: %v\n%s", err, w.log())
	}
	if !s.end() {
		w.Fatal("imapd does not end")
	}
	if l.after, err = w.look(w.maildir()); err != nil {
		w.Fatal(err)
	}
	if left := litter(w.maildir()); len(left) > 0 {
		w.Fatalf("litter without a fault: %q", left)
	}
	return l
}

func (p imapPath) try(r *run, right any) {
	l := right.(lesson)
	s, err := r.session(r.fault, p)
	if err != nil {
		r.Fatalf("%s: cannot begin: %v\n%s", p.name, err, r.log())
	}
	if err := s.begin(p.before); err != nil {
		r.Fatalf("%s: %v\n%s", p.name, err, r.log())
	}
	s.p.Arm()
	start := time.Now()
	answer, err := s.Do(p.command)
	done := err == nil && answer.Kind == "OK"
	if err != nil && !r.killed() {
		r.problem("the session ended: %v", err)
	}
	r.prompt("the answer", start)
	p.falseNews(r, answer)
	for _, command := range p.after {
		if err == nil {
			_, err = s.Do(command)
		}
	}
	if !p.alone() || r.killed() {
		r.judge(r.look, comparison{l.before, l.after, done, r.killed(), p.atomic})
	}
	r.note(s.p)
	s.p.Disarm()
	if err == nil && !done {
		r.again(s, p)
	}
	if !s.end() {
		r.problem("imapd does not end")
	}
	r.note(s.p)
	if err != nil && !done {
		p.anew(r)
	}
	r.judge(r.look, comparison{l.before, l.after, true, r.killed() && !done, false})
	r.clean()
}

// alone: to look at the account meanwhile would do the work of the path.
func (p imapPath) alone() bool { return p.new > 0 }

// falseNews complains of messages that are said to be gone and are not.
func (p imapPath) falseNews(r *run, answer *imapwire.Answer) {
	if !p.quiet || answer == nil {
		return
	}
	for _, d := range answer.Data {
		if d.Kind == "EXPUNGE" || d.Kind == "VANISHED" {
			r.problem("a false %s", d.Raw)
		}
	}
}

// again: the next attempt, in the same session, succeeds.
func (r *run) again(s *session, p imapPath) {
	commands := p.again
	if commands == nil {
		commands = append(p.before[:len(p.before):len(p.before)], p.command)
	}
	for _, command := range commands {
		answer, err := s.Do(command)
		if err != nil {
			r.problem("again: %v", err)
			return
		}
		if answer.Kind != "OK" && !(p.looseOK && r.doneAlready(answer)) {
			r.problem("again: %.60s: %s", command, strings.TrimSpace(string(answer.Raw)))
		}
	}
}

func (r *run) doneAlready(answer *imapwire.Answer) bool {
	return answer.Code == "ALREADYEXISTS" || answer.Code == "NONEXISTENT"
}

// anew: another process succeeds where one has died.
func (p imapPath) anew(r *run) {
	start := time.Now()
	s, err := r.session(supervise.Fault{}, p)
	if err != nil {
		r.problem("a new imapd: %v", err)
		return
	}
	r.again(s, p)
	if !s.end() {
		r.problem("the new imapd does not end")
	}
	r.prompt("a new imapd", start)
}

// judge compares the account with what it may be.
func (r *run) judge(look func(string) (account, error), c comparison) {
	got, err := look(r.maildir())
	if err != nil {
		r.problem("cannot look: %v", err)
		return
	}
	c.judge(got, r.problem)
}

// clean looks for litter: none after an error, unless the error was met while
// removing it; none that the sweepers leave in any case.
func (r *run) clean() { r.cleanMaildir(r.maildir()) }

func (r *run) cleanMaildir(maildir string) {
	left := litter(maildir)
	if len(left) == 0 {
		return
	}
	removing := strings.Contains(r.call.Name, "unlink") || strings.Contains(r.call.Path, "/tmp") && r.call.Name == "openat" || r.fault.Action == supervise.FailOn
	if !r.killed() && !removing {
		r.problem("litter: %q", left)
	}
	left, err := r.swept(maildir)
	if err != nil {
		r.problem("cannot sweep: %v", err)
	} else if len(left) > 0 {
		r.problem("not swept: %q", left)
	}
}

// appended is a message that says where it ends.
func appended(n int) string {
	return "Subject: appended\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", n) + "end\r\n"
}

// manyKeywords are more than the letters of a Maildir can name.
func manyKeywords() string {
	var all []string
	for i := range 30 {
		all = append(all, fmt.Sprintf("kw%02d", i))
	}
	return strings.Join(all, " ")
}

var imapPaths = []imapPath{
	{name: "select", command: "SELECT INBOX", new: 3, quiet: true},
	{name: "append", before: []string{"SELECT INBOX"}, command: `APPEND INBOX (\Seen) ` + imapwire.Lit(appended(3)), atomic: true, quiet: true},
	{name: "append large", command: `APPEND Work (\Seen fresh) ` + imapwire.Lit(appended(20000)), atomic: true, quiet: true},
	{name: "append three", before: []string{"SELECT INBOX"}, command: `APPEND INBOX ` + imapwire.Lit(appended(1)) + " " + imapwire.Lit(appended(2)) + " " + imapwire.Lit(appended(4)), atomic: true, quiet: true},
	{name: "copy", before: []string{"SELECT INBOX"}, command: "UID COPY 1:3 Work", atomic: true, quiet: true},
	{name: "move", before: []string{"SELECT INBOX"}, command: "UID MOVE 1:3 Work"},
	{name: "store flags", before: []string{"SELECT INBOX"}, command: `UID STORE 1:3 +FLAGS (\Flagged \Answered)`, quiet: true},
	{name: "store keyword", before: []string{"SELECT INBOX"}, command: `UID STORE 2:3 +FLAGS (fresh)`, quiet: true},
	{name: "store many", before: []string{"SELECT INBOX"}, command: `UID STORE 2:3 FLAGS (` + manyKeywords() + `)`, quiet: true},
	{name: "expunge", before: []string{"SELECT INBOX"}, command: "EXPUNGE"},
	{name: "create", command: "CREATE Fresh.Deep (USE (\\Sent))", looseOK: true},
	{name: "delete", command: "DELETE Work", looseOK: true},
	{name: "rename", command: "RENAME Work Elsewhere", looseOK: true},
	{name: "subscribe", command: "SUBSCRIBE Elsewhere"},
	{name: "unsubscribe", command: "UNSUBSCRIBE Work"},
	{name: "setacl", command: "SETACL Work bob@example.test lrs"},
	{name: "setmetadata", command: `SETMETADATA Work (/private/comment "mine" /shared/comment "ours")`},
	{name: "setquota", command: `SETQUOTA "#user/alice@example.test" (STORAGE 5000 MESSAGE 900)`, login: true},
	{name: "caches", command: "SELECT INBOX", after: []string{"UID FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW)", "UID SEARCH SUBJECT message"}, size: 12, new: 3, quiet: true},
}
