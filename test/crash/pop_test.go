package crash_test

import (
	"strings"

	"peyk/test/crash/supervise"
)

// popPath is the update of POP3 (RFC 1939 §6).
var popPath = path{name: "pop3 update", learn: learnPop, try: tryPop, prepare: func(w *world) {
	w.fill(w.maildir(), 5)
	if _, err := w.look(w.maildir()); err != nil {
		w.Fatal(err)
	}
}}

// popSession removes messages 1 and 3; done means that the server said so.
func (w *world) popSession(fault supervise.Fault) (p *supervise.Process, done bool, err error) {
	conn, theirs := w.socketpair()
	defer conn.Close()
	p = w.start(fault, false, theirs, "pop3d", "-preauth", w.maildir())
	theirs.Close()
	t, err := hello(conn, "NOOP")
	if err != nil {
		return p, false, err
	}
	p.Arm()
	for _, command := range []string{"STAT", "DELE 1", "DELE 3"} {
		if _, err := t.do(command); err != nil {
			return p, false, err
		}
	}
	reply, err := t.do("QUIT")
	return p, err == nil && strings.HasPrefix(reply, "+OK"), err
}

func learnPop(w *world) any {
	w.Helper()
	var l lesson
	var err error
	if l.before, err = w.look(w.maildir()); err != nil {
		w.Fatal(err)
	}
	p, done, err := w.popSession(supervise.Fault{})
	if p.Wait(); !done {
		w.Fatalf("without a fault: %v\n%s", err, w.log())
	}
	if l.after, err = w.look(w.maildir()); err != nil {
		w.Fatal(err)
	}
	return l
}

func tryPop(r *run, right any) {
	l := right.(lesson)
	p, done, err := r.popSession(r.fault)
	if ended, _ := p.WaitFor(patience); !ended {
		r.problem("pop3d does not end")
	}
	r.note(p)
	if err != nil && !r.killed() && !r.hit {
		r.problem("the session ended: %v", err)
	}
	r.judge(r.look, comparison{before: l.before, after: l.after, done: done, killed: r.killed()})
	if !done {
		r.popAgain()
	}
	got, err := r.look(r.maildir())
	if err != nil {
		r.problem("cannot look: %v", err)
	} else if len(got.folders["INBOX"].messages) != len(l.after.folders["INBOX"].messages) && done {
		r.problem("%d messages are left", len(got.folders["INBOX"].messages))
	}
	r.cleanMaildir(r.maildir())
}

// popAgain: another session succeeds, whatever is left.
func (r *run) popAgain() {
	conn, theirs := r.socketpair()
	defer conn.Close()
	p := r.world.start(supervise.Fault{}, false, theirs, "pop3d", "-preauth", r.maildir())
	theirs.Close()
	t, err := hello(conn, "NOOP")
	if err == nil {
		var reply string
		reply, err = t.do("DELE 1")
		if err == nil && !strings.HasPrefix(reply, "+OK") {
			r.problem("again: %s", reply)
		}
		if reply, err = t.do("QUIT"); err == nil && !strings.HasPrefix(reply, "+OK") {
			r.problem("again: QUIT: %s", reply)
		}
	}
	if err != nil {
		r.problem("again: %v", err)
	}
	p.WaitFor(patience)
}
