package mailbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A lock says whose it is as long as it is there: nobody who looks meanwhile,
// and nobody who comes after a kill, finds one without its owner.
func TestLockIsNeverEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dovecot-uidlist.lock")
	l := &locker{host: "me", pid: os.Getpid(), now: time.Now, started: time.Now()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			d, err := l.try(path)
			if err != nil || d == nil {
				t.Error(d, err)
				return
			}
			d.release()
		}
	}()
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		default:
		}
		if text, err := os.ReadFile(path); err == nil && len(text) == 0 {
			t.Fatal("the lock is empty")
		}
	}
}

func TestLockIsExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	l := &locker{host: "me", pid: os.Getpid(), now: time.Now, started: time.Now()}
	for _, make := range []func() (*os.File, error){
		func() (*os.File, error) { return l.create(path) },
		func() (*os.File, error) { return createInPlace(path, "1:me") },
	} {
		f, err := make()
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, err := l.create(path); !os.IsExist(err) {
			t.Errorf("a second lock: %v", err)
		}
		if _, err := createInPlace(path, "1:me"); !os.IsExist(err) {
			t.Errorf("a second lock in place: %v", err)
		}
		os.Remove(path)
	}
}

// A process that was killed and that nobody has waited for holds no lock.
func TestProcessEnded(t *testing.T) {
	if ProcessEnded(os.Getpid()) {
		t.Error("we have ended")
	}
	cmd := exec.Command("sleep", "1000")
	must(t, cmd.Start())
	pid := cmd.Process.Pid
	if ProcessEnded(pid) {
		t.Error("a process that runs has ended")
	}
	must(t, cmd.Process.Kill())
	for deadline := time.Now().Add(time.Minute); !ProcessEnded(pid) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if !ProcessEnded(pid) || unix.Kill(pid, 0) != nil { // it can still be signalled
		t.Error("a process that was killed has not ended")
	}
	cmd.Wait()
	if !ProcessEnded(pid) {
		t.Error("a process that is gone has not ended")
	}
}
