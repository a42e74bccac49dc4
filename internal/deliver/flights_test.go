package deliver

import (
	"testing"
	"testing/synctest"
)

// One that is alone waits for the others of the same message, and two of them
// for each other, without end for neither.
func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flights{under: make(map[string]*flight)}
		first, second := f.enter("x", false), f.enter("x", false)
		f.enter("", true)() // without a name nobody waits
		f.enter("y", true)()
		inside, most, through := 0, 0, 0
		for range 3 {
			go func() {
				leave := f.enter("x", true)
				inside++
				most = max(most, inside)
				inside--
				through++
				leave()
			}()
		}
		synctest.Wait()
		first()
		synctest.Wait()
		if through != 0 {
			t.Error("one did not wait for all others")
		}
		second()
		synctest.Wait()
		if through != 3 || most != 1 || len(f.under) != 0 {
			t.Errorf("%d through, %d at one time, %d left", through, most, len(f.under))
		}
	})
}
