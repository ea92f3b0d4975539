package plan

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func buckets(t testing.TB, s string) Buckets {
	t.Helper()
	b, err := ParseBuckets(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCeiling(t *testing.T) {
	const three = "437=110,504=60,571=10"
	tests := map[string]struct {
		buckets   string
		intensity float64
		want      int
	}{
		"below the first bound":                      {three, 200, 110},
		"a bound belongs to the bucket below it":     {three, 437, 110},
		"just above a bound":                         {three, 437.001, 60},
		"above the last bound the last bucket holds": {three, 900, 10},
		"a perfectly clean grid":                     {three, 0, 110},
		"a negative intensity":                       {three, -50, 110},
		"unknown is the last":                        {three, math.NaN(), 10},
		"an open bucket":                             {"437=110,*=7", 1e9, 7},
		"a ceiling of nothing":                       {"437=110,*=0", 500, 0},
		"a number alone holds everywhere":            {"30", 500, 30},
		"spaces do not matter":                       {" 200 = 20 , * = 1 ", 201, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := buckets(t, tt.buckets).Ceiling(tt.intensity); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	if got := (Buckets{}).Ceiling(500); got != Unlimited {
		t.Errorf("no buckets: got %d, want no limit", got)
	}
}

func TestBucketsNameWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                        `buckets[0]: "": want a ceiling from 0 to 2147483647 pods, such as 437=110 or 30`,
		"many":                    `buckets[0]: "many": want a ceiling from 0 to 2147483647 pods, such as 437=110 or 30`,
		"-1":                      `buckets[0]: "-1": want a ceiling from 0 to 2147483647 pods, such as 437=110 or 30`,
		"437=110,504":             `buckets[1]: "504": want a ceiling from 0 to 2147483647 pods, such as 437=110 or 30`,
		"437=1.5":                 `buckets[0]: "437=1.5": want a ceiling from 0 to 2147483647 pods, such as 437=110 or 30`,
		"437=2147483648":          `buckets[0]: "437=2147483648": want a ceiling from 0 to 2147483647 pods, such as 437=110 or 30`,
		"low=110":                 `buckets[0]: "low=110": want gCO2eq/kWh (or * for any) = pods, such as 437=110 or *=10`,
		"inf=110":                 `buckets[0]: "inf=110": want gCO2eq/kWh (or * for any) = pods, such as 437=110 or *=10`,
		"*=10,437=110":            `buckets[0]: upTo +Inf: want gCO2eq/kWh as a number from 0 to 1000000; the last may be open`,
		"504=60,437=110":          `buckets[1]: upTo 437: want more than the 504 of the bucket before it`,
		"437=110,437=60":          `buckets[1]: upTo 437: want more than the 437 of the bucket before it`,
		strings.Repeat("1,", 200): `201 buckets: want at most 100`,
	} {
		_, err := ParseBuckets(text)
		if err == nil {
			t.Errorf("%.40q: want an error", text)
		} else if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("%.40q: %s", text, diff)
		}
	}
	for name, bad := range map[string]Bucket{
		"a bound that is no number":  {UpTo: math.NaN(), Ceiling: 1},
		"a bound below zero":         {UpTo: -1, Ceiling: 1},
		"a ceiling below zero":       {UpTo: 1, Ceiling: -1},
		"a ceiling beyond 31 bits":   {UpTo: 1, Ceiling: math.MaxInt32 + 1},
		"a bound of minus infinity":  {UpTo: math.Inf(-1), Ceiling: 1},
		"a bound that no grid knows": {UpTo: 1e7, Ceiling: 1},
	} {
		if b, err := NewBuckets([]Bucket{bad}); err == nil {
			t.Errorf("%s: got %s, want an error", name, b)
		}
	}
}

func TestBucketsKeepTheirOwnList(t *testing.T) {
	given := []Bucket{{UpTo: 100, Ceiling: 5}}
	b, err := NewBuckets(given)
	if err != nil {
		t.Fatal(err)
	}
	given[0].Ceiling = 9
	if got := b.Ceiling(50); got != 5 {
		t.Errorf("got %d, want the 5 that was given", got)
	}
}

// FuzzParseBuckets checks that no input panics, that accepted buckets print as what reads back, and
// that every ceiling is one that was written.
func FuzzParseBuckets(f *testing.F) {
	for _, s := range []string{"437=110,504=60,*=10", "30", "200=20,350=5,*=1", "0=0", "1e3=1", "0x1p4=1", " *=3 ", "=", ",", "1=1=1"} {
		f.Add(s, 450.0)
	}
	f.Fuzz(func(t *testing.T, s string, intensity float64) {
		b, err := ParseBuckets(s)
		if err != nil {
			return
		}
		again, err := ParseBuckets(b.String())
		if err != nil || b.String() != again.String() {
			t.Fatalf("%q prints as %q, which reads back as %q, %v", s, b, again, err)
		}
		ceiling := b.Ceiling(intensity)
		if ceiling != again.Ceiling(intensity) || ceiling < 0 || ceiling > math.MaxInt32 {
			t.Fatalf("%q: ceiling %d at %g", s, ceiling, intensity)
		}
	})
}
