package table

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// minutesOfDay is how many minutes a day has on the clock face, whatever the
// zone does to one in spring and autumn.
const minutesOfDay = 24 * 60

// Hours are the times of a week at which something is allowed, on the clocks
// of a time zone.
type Hours struct {
	spans []span
	zone  *time.Location
}

// A span is a part of one day, in minutes since midnight.
type span struct {
	day      time.Weekday
	from, to int
}

// Include reports whether a moment is within the hours.
func (h Hours) Include(now time.Time) bool {
	if h.zone != nil {
		now = now.In(h.zone)
	}
	minute := now.Hour()*60 + now.Minute()
	return slices.ContainsFunc(h.spans, func(s span) bool {
		return s.day == now.Weekday() && s.from <= minute && minute < s.to
	})
}

var errHours = errors.New("expected hours such as Mo-Fr/08:00-18:00,Sa/09:00-12:00")

// parseHours reads items with commas between them, each a time span for every
// day, or with days before it. A span that ends before it begins goes on into
// the next day.
func parseHours(s string) (h Hours, err error) {
	for item := range strings.SplitSeq(s, ",") {
		days, clock, ok := strings.Cut(item, "/")
		if !ok {
			days, clock = "Mo-Su", item
		}
		first, last, ok := parseDays(days)
		from, to, good := parseSpan(clock)
		if !ok || !good {
			return Hours{}, errHours
		}
		for day := first; ; day = (day + 1) % 7 {
			h.add(day, from, to)
			if day == last {
				break
			}
		}
	}
	return h, nil
}

func (h *Hours) add(day time.Weekday, from, to int) {
	if from < to {
		h.spans = append(h.spans, span{day, from, to})
		return
	}
	h.spans = append(h.spans, span{day, from, minutesOfDay}, span{(day + 1) % 7, 0, to})
}

// parseDays reads a day or the first and last of several.
func parseDays(s string) (first, last time.Weekday, ok bool) {
	a, b, several := strings.Cut(s, "-")
	if !several {
		b = a
	}
	names := []string{"Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"}
	i, j := slices.Index(names, a), slices.Index(names, b)
	return time.Weekday(i), time.Weekday(j), i >= 0 && j >= 0
}

// parseSpan reads 08:00-18:00 in minutes. 24:00 is the end of a day.
func parseSpan(s string) (from, to int, ok bool) {
	a, b, _ := strings.Cut(s, "-")
	from, good := parseClock(a)
	to, fine := parseClock(b)
	return from, to, good && fine && from != to && from < minutesOfDay
}

func parseClock(s string) (minute int, ok bool) {
	if s == "24:00" {
		return minutesOfDay, true
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil && len(s) == 5
}
