package status

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"peyk/internal/sysexits"
)

func TestOfKeepsAStatusThroughWrapping(t *testing.T) {
	inner := New(550, "5.1.1", "no such user")
	got := Of(fmt.Errorf("look up alice: %w", inner))
	if got != inner {
		t.Fatalf("Of = %v, want the wrapped status", got)
	}
}

func TestOfTurnsAPlainErrorTemporary(t *testing.T) {
	got := Of(fs.ErrPermission)
	if !got.Temporary() || got.Enhanced != "4.3.0" {
		t.Fatalf("Of(plain) = %s, want a 4.3.0", got.Reply())
	}
	if !errors.Is(got, fs.ErrPermission) {
		t.Fatal("the cause is lost")
	}
	if Of(nil) != nil {
		t.Fatal("Of(nil) must be nil")
	}
}

func TestReplyHidesTheCause(t *testing.T) {
	e := New(451, "4.3.0", "cannot store the message").Because("open /var/secret", fs.ErrPermission)
	if e.Reply() != "451 4.3.0 cannot store the message" {
		t.Fatalf("Reply = %q", e.Reply())
	}
	if want := "cannot store the message: open /var/secret: permission denied"; e.Error() != want {
		t.Fatalf("Error = %q, want %q", e.Error(), want)
	}
}

func TestExit(t *testing.T) {
	for _, c := range []struct {
		err  *Error
		want int
	}{
		{nil, sysexits.OK},
		{New(451, "4.1.1", "x"), sysexits.TempFail},
		{New(550, "5.1.1", "x"), sysexits.NoUser},
		{New(550, "5.7.1", "x"), sysexits.NoPerm},
		{New(552, "5.2.2", "x"), sysexits.CantCreat},
		{New(554, "5.9.9", "x"), sysexits.Unavailable},
	} {
		if got := c.err.Exit(); got != c.want {
			t.Errorf("Exit(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}
