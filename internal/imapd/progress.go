package imapd

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"peyk/internal/mimescan"
)

// Times of INPROGRESS (RFC 9585): the first notice comes after some seconds,
// the others no sooner after it.
const (
	progressEvery = 5 * time.Second
	progressTick  = time.Second // how often it is looked whether it is time
)

// A progress tells the client how far a long command is (RFC 9585). Its
// notices must not come in the middle of another response.
type progress struct {
	s    *session
	tag  string
	next time.Time
}

// begin is called before each command; the command may call at as often as it
// likes.
func (g *progress) begin(s *session, tag string) {
	*g = progress{s: s, tag: tag, next: s.o.Now().Add(progressEvery)}
}

// at says that so many of so many are done; a goal of 0 is not known yet. The
// error is one of the connection.
func (g *progress) at(done, goal int) error {
	if g.s == nil {
		return nil
	}
	now := g.s.o.Now()
	if now.Before(g.next) {
		return nil
	}
	g.next = now.Add(progressEvery)
	s := g.s
	s.out = append(s.out, "* OK [INPROGRESS ("...)
	s.out = mimescan.AppendString(s.out, g.tag)
	s.out = append(s.out, ' ')
	s.out = append(append(s.out, progressState(done, goal)...), ")] still at it\r\n"...)
	return s.send()
}

// manyMessages is how many may be changed in one go before the client is told
// that it takes long.
const manyMessages = 1000

// during runs a change of so many messages. The store makes it as a whole,
// with its folders locked, and cannot stop to talk to a client that may be
// slow; so this goroutine does while another one works.
func (g *progress) during(messages int, change func() error) error {
	if messages < manyMessages || g.s == nil {
		return change()
	}
	done := make(chan error, 1)
	var crash any
	go func() {
		defer func() {
			if p := recover(); p != nil {
				crash = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			close(done)
		}()
		done <- change()
	}()
	tick := time.NewTicker(progressTick)
	defer tick.Stop()
	var lost error
	for {
		select {
		case err, ok := <-done:
			if !ok {
				panic(crash)
			}
			return cmp.Or(lost, err)
		case <-tick.C:
			if lost == nil {
				lost = g.at(0, 0)
			}
		}
	}
}

// progressState: inprogress-state of RFC 9585 §5.
func progressState(done, goal int) string {
	switch {
	case goal > 0:
		return strconv.Itoa(min(done, goal)) + " " + strconv.Itoa(goal)
	case done > 0:
		return strconv.Itoa(done) + " NIL"
	}
	return "NIL NIL"
}
