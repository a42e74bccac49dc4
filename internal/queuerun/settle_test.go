package queuerun

import (
	"testing"
	"time"
)

func TestPausesGrowToAMost(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 6: time.Minute, 255: time.Minute} {
		if got := again(failures, troubleAgain); got != want {
			t.Errorf("after %d failures: %v, want %v", failures, got, want)
		}
	}
}
