package plan

import (
	"math"
	"strings"
	"testing"
)

func TestParseWidths(t *testing.T) {
	for _, tt := range []struct {
		text        string
		least, most int
		ok          bool
	}{
		{"2-40", 2, 40, true},
		{" 1 - 1 ", 1, 1, true},
		{"1-100000", 1, 100000, true},
		{"1-100001", 0, 0, false},
		{"0-4", 0, 0, false},
		{"4-2", 0, 0, false},
		{"4", 0, 0, false},
		{"-4", 0, 0, false},
		{"1-2-3", 0, 0, false},
		{"1-+4", 0, 0, false},
		{"1-99999999999999999999", 0, 0, false},
		{"", 0, 0, false},
		{"a-b", 0, 0, false},
		{"1-4\x00", 0, 0, false},
	} {
		least, most, err := ParseWidths(tt.text)
		if least != tt.least || most != tt.most || (err == nil) != tt.ok {
			t.Errorf("%q: %d, %d, %v", tt.text, least, most, err)
		}
		if err != nil && !strings.Contains(err.Error(), "such as 2-40") {
			t.Errorf("%q: %v does not say what is wanted", tt.text, err)
		}
	}
}

func TestASpeedupIsLinearBetweenItsPairs(t *testing.T) {
	s, err := ParseSpeedup(" 1=1, 10=8 ,40=20")
	if err != nil || s.String() != "1=1,10=8,40=20" || s.FirstWidth() != 1 {
		t.Fatal(s, err)
	}
	for width, want := range map[int]float64{-3: 0, 0: 0, 1: 1, 10: 8, 19: 11.6, 40: 20, 1000: 20} {
		if got := s.At(width); math.Abs(got-want) > 1e-9 {
			t.Errorf("%d pods: %g, want %g", width, got, want)
		}
	}
	if s, _ = ParseSpeedup("4=3"); s.At(2) != 1.5 || s.FirstWidth() != 4 {
		t.Errorf("2 pods below the first pair: %g", s.At(2))
	}
	if s, _ = ParseSpeedup(""); !s.IsLinear() || s.At(7) != 7 || s.FirstWidth() != 1 {
		t.Errorf("an empty speedup is not linear: %v", s)
	}
}

func TestABadSpeedupIsExplained(t *testing.T) {
	for text, want := range map[string]string{
		"1":                         "want a throughput above 0",
		"=1":                        "want pods (1 to 100000)",
		"0=1":                       "want pods (1 to 100000)",
		"1=0":                       "want a throughput above 0",
		"1=NaN":                     "want a throughput above 0",
		"1=+Inf":                    "want a throughput above 0",
		"1=1e7":                     "up to 1000000",
		"1=1,1=2":                   "want more pods than the 1",
		"4=4,2=3":                   "want more pods than the 4",
		"1=1,2=2.5":                 "want a gain that does not grow",
		"1=1,4=2,5=3":               "want a gain that does not grow",
		"1=1,4=0.5":                 "want no less throughput than the 1 of 1 pods",
		"1=1,,2=2":                  "want pods",
		strings.Repeat("1=1,", 32):  "33 pairs: want at most 32",
		"1=1\x00," + "\xff\xfe=4":   "want a throughput",
		strings.Repeat("9", 10_000): "want pods",
	} {
		if _, err := ParseSpeedup(text); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%.20q: got %v, want %q", text, err, want)
		}
	}
}

// FuzzParseSpeedup checks that a speedup that is read never gains more by a wider step.
func FuzzParseSpeedup(f *testing.F) {
	for _, text := range []string{"1=1,10=8,40=20", "3=3", "1=1,2=1.9,4=3", "1=1,2=2,3=2", "", "1=1e-300,2=1e-300"} {
		f.Add(text, 3)
	}
	f.Fuzz(func(t *testing.T, text string, width int) {
		s, err := ParseSpeedup(text)
		if err != nil {
			return
		}
		again, err := ParseSpeedup(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q is printed as %q: %v", text, s, err)
		}
		width = width%maxWidth + 1
		before, at, after := s.At(width-1), s.At(width), s.At(width+1)
		if width > 0 && (!(at > 0) || after < at || (after-at) > (at-before)*(1+1e-6)+1e-9*at) {
			t.Fatalf("%q: %g, %g, %g at %d", text, before, at, after, width)
		}
	})
}
