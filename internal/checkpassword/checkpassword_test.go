package checkpassword

import (
	"context"
	"strings"
	"testing"
	"time"

	"peyk/internal/status"
)

// A checkpassword program in shell: alice's password is secret, and it shows
// that only descriptor 3 carries the login.
const program = `login=$(tr '\0' ' ' <&3); case "$login" in
	"alice secret 0 ") test -z "$CANARY" && exec "$@" ;;
	"down "*) exit 111 ;; "misuse "*) exit 2 ;; "hang "*) sleep 60 ;;
	esac; exit 1`

func check(ctx context.Context, user, password string) int {
	err := Check(ctx, []string{"/bin/sh", "-c", program, "checkpw"}, user, password)
	if err == nil {
		return 0
	}
	if strings.Contains(err.Error(), "secret") {
		return -1
	}
	return status.Of(err).Code
}

func TestCheck(t *testing.T) {
	t.Setenv("CANARY", "x")
	for _, c := range []struct {
		user, password string
		code           int
	}{
		{"alice", "secret", 0}, {"alice", "wrong", 535}, {"bob", "secret", 535}, {"", "secret", 535}, {"alice", "", 535},
		{"alice\x00secret", "x", 535}, {"alice", "secret\x00", 535}, {"alice", strings.Repeat("x", 600), 535},
		{"down", "secret", 454}, {"misuse", "secret", 454}, {"$(exit 0)", "`true`", 535},
	} {
		if got := check(t.Context(), c.user, c.password); got != c.code {
			t.Errorf("%q %.10q = %d, want %d", c.user, c.password, got, c.code)
		}
	}
	if err := Check(t.Context(), []string{"/nonexistent/program"}, "a", "b"); status.Of(err).Code != 454 {
		t.Errorf("no such program: %v", err)
	}
	if err := Check(t.Context(), nil, "a", "b"); status.Of(err).Code != 454 {
		t.Errorf("no program: %v", err)
	}
}

func TestHangingProgramIsEnded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got := check(ctx, "hang", "secret"); got != 454 {
		t.Errorf("a hanging program: %d", got)
	}
}
