package imapd

import (
	"strconv"
	"time"

	"peyk/internal/mimescan"
)

// Times of INPROGRESS (RFC 9585): the first notice comes after some seconds,
// the others no sooner after it.
const progressEvery = 5 * time.Second

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
