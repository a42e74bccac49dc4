package e2e_test

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"peyk/test/imapwire"
)

// A listener does nothing but wait, in IDLE or after NOTIFY, and fetch what it
// was told to be new. When all is quiet it must know what a fresh client sees.
type listener struct {
	modelClient
	notified bool       // by NOTIFY, not in IDLE
	mu       sync.Mutex // what Each changes, and the verdict reads
	unknown  bool       // there are messages to be fetched
	comment  map[string]string
	ask      []string // mailboxes whose comment has changed
}

func newListener(m *model, n int, k kind, notified bool) *listener {
	return &listener{notified: notified, modelClient: modelClient{kind: k, m: m, n: n, r: rand.New(rand.NewPCG(0, uint64(n))), box: "INBOX"}, comment: map[string]string{}}
}

func (l *listener) run() {
	for {
		select {
		case <-l.m.end:
			return
		default:
		}
		if l.connect() != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		conn, done := l.c, make(chan struct{})
		go func() {
			select {
			case <-l.m.end:
				conn.Close()
			case <-done:
			}
		}()
		err := l.begin()
		for err == nil {
			err = l.wait()
		}
		close(done)
		l.drop()
		l.m.did("listeners cut off")
	}
}

// begin learns all there is.
func (l *listener) begin() error {
	l.c.SetDeadline(time.Time{})
	l.mu.Lock()
	l.view, l.flags, l.told, l.modseqs = nil, map[uint32]string{}, nil, nil
	l.mu.Unlock()
	l.c.Each = l.hear
	commands := []string{"SELECT INBOX", "UID FETCH 1:* (FLAGS)"}
	if l.notified {
		commands = []string{"NOTIFY SET STATUS (SELECTED (MessageNew (UID FLAGS) MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge FlagChange MailboxMetadataChange))",
			"GETMETADATA INBOX /shared/comment", "GETMETADATA Other /shared/comment", "SELECT INBOX", "UID FETCH 1:* (FLAGS)"}
	}
	for _, command := range commands {
		if _, err := l.do(command); err != nil {
			return err
		}
	}
	return nil
}

// hear is take under the lock.
func (l *listener) hear(r *imapwire.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Kind == "METADATA" {
		l.note("< " + r.Line())
		l.metadata(r)
		return
	}
	l.take(r)
	l.unknown = slices.Contains(l.view, 0)
}

func (l *listener) metadata(r *imapwire.Response) {
	box := r.Args[0].Text
	if r.Args[1].Kind != imapwire.List {
		l.ask = append(l.ask, box)
		l.m.did("told of metadata")
		return
	}
	l.comment[box] = r.Args[1].List[1].Text
}

// wait waits for something to fetch, and fetches it.
func (l *listener) wait() error {
	if l.notified {
		if len(l.ask) == 0 { // only this goroutine hears
			_, err := l.c.Next()
			return err
		}
		box := l.ask[0]
		l.ask = l.ask[1:]
		_, err := l.do("GETMETADATA " + box + " /shared/comment")
		return err
	}
	l.note("> IDLE")
	tag, err := l.c.Send("IDLE")
	for err == nil && !l.unknown {
		_, err = l.c.Next()
	}
	if err == nil {
		l.note("> DONE")
		_, err = io.WriteString(l.c.Conn, "DONE\r\n")
	}
	for r := (*imapwire.Response)(nil); err == nil && (r == nil || r.Tag != tag); {
		r, err = l.c.Next()
	}
	if err != nil {
		return err
	}
	_, err = l.do("UID FETCH 1:* (FLAGS)")
	return err
}

// misses tells what a fresh client sees and the listener does not know, "" for
// nothing.
func (l *listener) misses(fresh *modelClient) string {
	if fresh.connect() != nil {
		return "a connection"
	}
	defer fresh.drop()
	if fresh.selectBox() != nil {
		return "the mailbox"
	}
	if l.notified {
		for _, command := range []string{"STATUS Other (UIDNEXT MESSAGES HIGHESTMODSEQ)"} {
			if _, err := fresh.do(command); err != nil {
				return command
			}
		}
	}
	comments := map[string]string{}
	for _, box := range []string{"INBOX", "Other"} {
		a, err := fresh.do("GETMETADATA " + box + " /shared/comment")
		if err != nil {
			return "metadata"
		}
		for _, r := range a.Data {
			if r.Kind == "METADATA" {
				comments[box] = r.Args[1].List[1].Text
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !slices.Equal(l.view, fresh.view):
		return fmt.Sprintf("listener %d knows the UIDs %v, and there are %v", l.n, l.view, fresh.view)
	case !maps.Equal(l.flags, fresh.flags):
		var all []string
		for uid, flags := range fresh.flags {
			if l.flags[uid] != flags {
				all = append(all, fmt.Sprintf("UID %d: %q, not %q", uid, l.flags[uid], flags))
			}
		}
		return fmt.Sprintf("listener %d: %s", l.n, strings.Join(all, ", "))
	case l.notified && !maps.Equal(l.comment, comments):
		return fmt.Sprintf("listener %d knows the comments %q, and there are %q", l.n, l.comment, comments)
	case l.notified && !sameOther(l.told, fresh.told):
		return fmt.Sprintf("listener %d knows %v, and there are %v", l.n, l.told, fresh.told)
	}
	return ""
}

// sameOther compares what STATUS said of the mailbox that nobody has selected.
func sameOther(a, b map[place]uint64) bool {
	for _, item := range []string{"UIDNEXT", "MESSAGES", "HIGHESTMODSEQ"} {
		if at := (place{"Other " + item, 0}); a[at] != b[at] {
			return false
		}
	}
	return true
}
