package imapd

import (
	"testing"
	"time"
)

// TestDaysAreComparedAsWritten: RFC 3501 §6.4.4 disregards time and zone.
func TestDaysAreComparedAsWritten(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2020, 1, d, 0, 0, 0, 0, time.UTC) }
	late := []byte("Date: 1 Jan 2020 23:59:59 -0800\r\n")
	if !sentBetween(late, day(1), day(2)) || sentBetween(late, day(2), time.Time{}) || sentBetween(late, time.Time{}, day(1)) {
		t.Error("the zone moved the day")
	}
}
