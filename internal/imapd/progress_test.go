package imapd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"peyk/internal/guardconn"
)

// Notices come once in five seconds of the clock, however often the command
// reports, and have the grammar of RFC 9585.
func TestProgress(t *testing.T) {
	now := time.Unix(1e9, 0)
	o := preauth(t)
	o.Now = func() time.Time { return now }
	pipe := &pipeConn{}
	s := newSession(context.Background(), New(*o), o, guardconn.NewConn(pipe, guardconn.Options{Now: time.Now}))
	s.doing.begin(s, `a"1`)
	for i := range 16 {
		for range 100 {
			if err := s.doing.at(i, 13*min(i/8, 1)); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(time.Second)
	}
	want := `* OK [INPROGRESS ("a\"1" 5 NIL)] still at it
* OK [INPROGRESS ("a\"1" 10 13)] still at it
* OK [INPROGRESS ("a\"1" 13 13)] still at it
`
	if got := strings.ReplaceAll(pipe.out.String(), "\r\n", "\n"); got != want {
		t.Errorf("got %q", got)
	}
	if got := progressState(0, 0); got != "NIL NIL" {
		t.Error(got)
	}
}

// A change of many messages is told of while it is made, and comes back with
// its error or its panic; one of few is made at once.
func TestProgressOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Options{Now: time.Now}
		pipe := &pipeConn{}
		s := &session{srv: New(*o), o: o, conn: guardconn.NewConn(pipe, guardconn.Options{Now: time.Now})}
		for _, n := range []int{manyMessages, manyMessages - 1} {
			s.doing.begin(s, "a")
			failed := errors.New("failed")
			if err := s.doing.during(n, func() error {
				time.Sleep(12 * time.Second)
				return failed
			}); err != failed {
				t.Error(err)
			}
		}
		notice := "* OK [INPROGRESS (\"a\" NIL NIL)] still at it\r\n"
		if got := pipe.out.String(); got != notice+notice {
			t.Errorf("got %q", got)
		}
		defer func() {
			if p := recover(); !strings.Contains(fmt.Sprint(p), "broken") {
				t.Errorf("recovered %v", p)
			}
		}()
		s.doing.during(manyMessages, func() error { panic("broken") })
	})
}
