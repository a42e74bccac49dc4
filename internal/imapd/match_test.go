package imapd

import (
	"strings"
	"testing"
	"time"
)

// TestSearchFindsAcrossBlocks: a needle may lie across any two blocks of a
// decoded text, and in the middle of a letter of several octets.
func TestSearchFindsAcrossBlocks(t *testing.T) {
	for _, at := range []int{0, 16<<10 - 3, 16<<10 - 1, 32<<10 - 7} {
		text := strings.Repeat("é", at/2) + strings.Repeat("-", at%2) + "İÄ NEEDLE پیک" + strings.Repeat("x", 40<<10)
		var hits []int
		f := &finder{needles: []string{fold("ä needle پ"), "absent"}, hit: func(i int) { hits = append(hits, i) }}
		if err := f.read(strings.NewReader(text)); err != nil || len(hits) != 1 || hits[0] != 0 {
			t.Errorf("at %d: hits %v, %v", at, hits, err)
		}
	}
}

// TestDaysAreComparedAsWritten: RFC 3501 §6.4.4 disregards time and zone.
func TestDaysAreComparedAsWritten(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2020, 1, d, 0, 0, 0, 0, time.UTC) }
	late := time.Date(2020, 1, 1, 23, 59, 59, 0, time.FixedZone("", -8*3600))
	if !between(late, day(1), day(2)) || between(late, day(2), time.Time{}) || between(late, time.Time{}, day(1)) {
		t.Error("the zone moved the day")
	}
}
