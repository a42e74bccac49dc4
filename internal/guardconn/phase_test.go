package guardconn

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// inBubble runs f with a connection over a pipe, in fake time.
func inBubble(t *testing.T, o Options, f func(t *testing.T, c *Conn, client net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		theirs, client := net.Pipe()
		c := NewConn(theirs, o)
		defer time.Sleep(time.Hour) // in which the client's goroutines notice
		defer client.Close()
		defer c.Close()
		f(t, c, client)
	})
}

// drip writes a byte at a time until the connection ends.
func drip(client net.Conn, every time.Duration) {
	for {
		if _, err := client.Write([]byte("x")); err != nil {
			return
		}
		time.Sleep(every)
	}
}

func readAll(c *Conn) error {
	b := make([]byte, 4096)
	for {
		if _, err := c.Read(b); err != nil {
			return err
		}
	}
}

func expectLimit(t *testing.T, err error, limit string, began time.Time, after time.Duration) {
	t.Helper()
	var slow *TimeoutError
	if !errors.As(err, &slow) || slow.Limit != limit || time.Since(began) != after {
		t.Fatalf("got %v after %v, want limit %s after %v", err, time.Since(began), limit, after)
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%v is no timeout", err)
	}
}

func TestIdleLimit(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		began := time.Now()
		c.SetPhase(Phase{Idle: 10 * time.Minute, Whole: time.Minute})
		err := readAll(c)
		expectLimit(t, err, "idle", began, 10*time.Minute)
		go io.WriteString(client, "QUIT\r\n")
		c.SetPhase(Phase{})
		if _, again := c.Read(make([]byte, 10)); again != err {
			t.Fatalf("a timeout must be final, got %v", again)
		}
	})
}

func TestDrippedCommandIsCut(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		time.AfterFunc(time.Minute, func() { drip(client, 7*time.Second) })
		began := time.Now()
		c.SetPhase(Phase{Idle: 10 * time.Minute, Whole: 30 * time.Second})
		expectLimit(t, readAll(c), "whole", began, time.Minute+30*time.Second)
	})
}

func TestNextPhaseStartsAnew(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		go drip(client, 20*time.Second)
		for range 10 {
			c.SetPhase(Phase{Idle: 30 * time.Second, Whole: time.Second})
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSlowDataIsCut(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		go drip(client, 200*time.Millisecond) // 5 a second
		began := time.Now()
		c.SetPhase(Phase{Rate: 10, Window: 20 * time.Second})
		expectLimit(t, readAll(c), "rate", began, 20*time.Second)
	})
}

func TestFastDataEndsAtTheOverallLimit(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		go drip(client, 50*time.Millisecond) // 20 a second
		began := time.Now()
		c.SetPhase(Phase{Rate: 10, Window: 20 * time.Second, Whole: time.Hour})
		expectLimit(t, readAll(c), "whole", began, time.Hour)
	})
}

func TestRateCountsOnlyWaiting(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		go drip(client, 50*time.Millisecond)
		c.SetPhase(Phase{Rate: 10, Window: 20 * time.Second})
		for range 100 {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // the disk is slow, the client is not
		}
	})
}

func TestClientThatNeverReadsIsDropped(t *testing.T) {
	inBubble(t, Options{WriteTimeout: time.Minute}, func(t *testing.T, c *Conn, client net.Conn) {
		began := time.Now()
		io.WriteString(c, "hello")
		_, err := c.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Minute {
			t.Fatalf("got %v after %v", err, time.Since(began))
		}
		if _, again := c.Write([]byte("x")); again == nil {
			t.Fatal("a failed write must be final")
		}
		if again := c.Flush(); again == nil {
			t.Fatal("a failed write must be final")
		}
	})
}

func TestReadDeadlineIsNotFinal(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		c.SetPhase(Phase{Idle: time.Hour})
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); err != os.ErrDeadlineExceeded {
			t.Fatalf("got %v", err)
		}
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(time.Now()) })
		c.SetReadDeadline(time.Time{})
		if _, err := c.Read(make([]byte, 1)); err != os.ErrDeadlineExceeded { // while it is blocked
			t.Fatalf("got %v", err)
		}
		c.SetReadDeadline(time.Time{})
		go io.WriteString(client, "x")
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
	})
}

func TestInterruptWaitsForACommand(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		c.SetPhase(Phase{Rate: 1, Window: time.Minute})
		c.Interrupt()
		go io.WriteString(client, "data")
		if n, err := c.Read(make([]byte, 10)); n != 4 || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
		c.SetPhase(Phase{Command: true})
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, ErrShutdown) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestWritesPassWhileAReadIsBlocked(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		io.WriteString(c, "+ idling\r\n")
		go c.Read(make([]byte, 10))
		expect(t, client, "+ idling\r\n")
		synctest.Wait()
		go io.WriteString(c, "* 1 EXISTS\r\n") // nobody flushes
		expect(t, client, "* 1 EXISTS\r\n")
	})
}

func TestDismiss(t *testing.T) {
	inBubble(t, Options{Farewell: "bye"}, func(t *testing.T, c *Conn, client net.Conn) {
		c.SetPhase(Phase{Command: true})
		heard := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(client)
			heard <- string(b)
		}()
		time.AfterFunc(time.Minute, func() { c.Dismiss("your password was changed") })
		if err := readAll(c); err != ErrDismissed {
			t.Fatalf("got %v, want ErrDismissed", err)
		}
		c.Close()
		if got := <-heard; got != "your password was changed\r\n" {
			t.Fatalf("the client heard %q", got)
		}
		c.Dismiss("too late")
	})
}

// TestDismissCutsOff holds that a session which is not at a command does not
// go on.
func TestDismissCutsOff(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, c *Conn, client net.Conn) {
		c.SetPhase(Phase{})
		go drip(client, 100*time.Millisecond)
		began := time.Now()
		time.AfterFunc(time.Minute, func() { c.Dismiss("") })
		if err := readAll(c); err == nil || time.Since(began) != time.Minute+dismissGrace {
			t.Fatalf("got %v after %v", err, time.Since(began))
		}
	})
}
