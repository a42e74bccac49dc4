package deliver

import "sync"

// flights are the messages that are being delivered, by queue id. When the
// client is killed its deliveries go on: the next one that asks for the same
// message must not look into the mailbox before they are through.
type flights struct {
	mu    sync.Mutex
	under map[string]*flight
}

type flight struct {
	n     int // deliveries under way
	ended sync.Cond
}

// enter begins a delivery, and returns what ends it. One that is alone waits
// until no other is under way.
func (f *flights) enter(ident string, alone bool) (leave func()) {
	if ident == "" {
		return func() {}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	mine := f.under[ident]
	for alone && mine != nil {
		mine.ended.Wait()
		mine = f.under[ident]
	}
	if mine == nil {
		mine = &flight{ended: sync.Cond{L: &f.mu}}
		f.under[ident] = mine
	}
	mine.n++
	return func() { f.leave(ident, mine) }
}

func (f *flights) leave(ident string, mine *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mine.n--; mine.n == 0 {
		delete(f.under, ident)
		mine.ended.Broadcast()
	}
}
