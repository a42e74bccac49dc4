package totp

import (
	"net/url"
	"testing"
	"time"
)

// key is that of the test vectors.
var key = []byte("12345678901234567890")

// TestHOTP holds the values of RFC 4226 appendix D.
func TestHOTP(t *testing.T) {
	for step, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		if got := Code(key, int64(step)); got != want {
			t.Errorf("step %d: %s, want %s", step, got, want)
		}
	}
}

// TestTOTP holds the values of RFC 6238 appendix B, in six digits.
func TestTOTP(t *testing.T) {
	for seconds, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		if got := Code(key, Step(time.Unix(seconds, 0))); got != want {
			t.Errorf("%d: %s, want %s", seconds, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	now := time.Unix(1111111111, 0)
	here := Step(now)
	for _, c := range []struct {
		off, last int64
		want      bool
	}{{0, 0, true}, {-1, 0, true}, {1, 0, true}, {2, 0, false}, {-2, 0, false}, {0, here - 1, true}, {0, here, false}, {-1, here, false}, {1, here, true}} {
		step, ok := Check(key, Code(key, here+c.off), now, c.last)
		if ok != c.want || ok && step != here+c.off {
			t.Errorf("a code %d steps off after step now%+d: %v, step now%+d", c.off, c.last-here, ok, step-here)
		}
	}
	for _, bad := range []string{"", "000000", "50471", "0504710", "٠٥٠٤٧١"} {
		if _, ok := Check(key, bad, now, 0); ok {
			t.Errorf("%q was taken", bad)
		}
	}
	if !IsCode("050471") || IsCode("50471") || IsCode("05047x") {
		t.Error("IsCode is wrong")
	}
}

func TestURI(t *testing.T) {
	uri := URI("mx.example.org & co", "alice+x@example.org", key)
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/mx.example.org & co:alice+x@example.org" ||
		u.Query().Get("secret") != "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" || u.Query().Get("issuer") != "mx.example.org & co" {
		t.Errorf("%s: %v", uri, err)
	}
}

// FuzzCheck holds that no text but the code of a near step is taken.
func FuzzCheck(f *testing.F) {
	f.Add("050471", int64(1111111111), int64(0))
	f.Fuzz(func(t *testing.T, code string, seconds, last int64) {
		now := time.Unix(seconds, 0)
		step, ok := Check(key, code, now, last)
		if ok && (step <= last || step < Step(now)-1 || step > Step(now)+1 || Code(key, step) != code) {
			t.Errorf("%q was taken at %d after %d as step %d", code, seconds, last, step)
		}
	})
}
