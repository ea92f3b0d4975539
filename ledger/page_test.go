package ledger

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gridlatch/gridlatch/forecast"
)

// nearly compares sums that were added up in another order.
func nearly() cmp.Option { return cmpopts.EquateApprox(1e-9, 1e-9) }

// pageOf returns a page with random groups.
func pageOf(t testing.TB, r *rand.Rand, groups int) *Page {
	t.Helper()
	p := NewPage("2026-03-31")
	for n := range groups {
		if !p.Book(randomGroup(r, n)) {
			t.Fatalf("group %d is not booked", n)
		}
	}
	return p
}

// recoded returns the page after Encode and Decode.
func recoded(t testing.TB, p *Page, actuals Actuals) *Page {
	t.Helper()
	encoded, err := p.Encode(actuals)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	again, err := decoded.Encode(actuals)
	if err != nil || !bytes.Equal(encoded, again) {
		t.Fatalf("equal pages do not give equal bytes: %v", err)
	}
	return decoded
}

func TestAGroupIsBookedOnce(t *testing.T) {
	p := NewPage("2026-03-31")
	g := waited(2, Enforce)
	if !p.Book(g) || p.Book(g) {
		t.Error("a group is booked twice, or not at all")
	}
	g.Name = "changed"
	if p = recoded(t, p, nil); p.Book(g) || !p.Has("u") {
		t.Error("after Encode and Decode the group is booked again")
	}
	p.Count(nil, at(9999))
	p.Settle(nil, at(9999))
	if p = recoded(t, p, nil); p.Book(g) || !p.IsSettled() {
		t.Error("after it was settled the group is booked again")
	}
	p.Forget(g.Ended.Add(time.Hour))
	if p.Has("u") {
		t.Error("the group is not forgotten")
	}
	if p.Book(Group{}) {
		t.Error("a group without a UID is booked")
	}
}

func TestForgetKeepsWhatEndedSince(t *testing.T) {
	p := NewPage("2026-03-31")
	for i := range 24 {
		g := waited(0, Enforce)
		g.UID, g.Ended = fmt.Sprint(i), at(60*i+30)
		p.Book(g)
	}
	p.Settle(nil, at(99999))
	p.Forget(at(12 * 60))
	for i := range 24 {
		if has := p.Has(fmt.Sprint(i)); has != (i >= 12) {
			t.Errorf("the group that ended at %d:30 is known: %v", i, has)
		}
	}
}

func TestAPageOutlivesEncodeAndDecode(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	actuals := byLocation(map[string]*forecast.Series{"A": randomSeries(r, 0.02, 3000), "B": randomSeries(r, 0.02, 3000)})
	p := pageOf(t, r, 300)
	p.Settle(actuals, at(600).Add(SettledAfter))
	q := recoded(t, p, actuals)
	if len(q.Groups()) == 0 || len(q.Groups()) == 300 {
		t.Fatalf("%d groups are not settled, want some", len(q.Groups()))
	}
	if diff := cmp.Diff(p.Groups(), q.Groups(), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(p.Sums(actuals), q.Sums(actuals)); diff != "" || q.Name() != "2026-03-31" {
		t.Error(q.Name(), diff)
	}
	if diff := cmp.Diff(p.Sums(actuals), q.Sums(nil), cmpopts.EquateApprox(1e-5, 1e-3)); diff != "" {
		t.Errorf("without intensities, what was known is lost: %s", diff)
	}
}

func TestEachGroupIsCountedOnce(t *testing.T) {
	const settledFirst = "settled before it is counted"
	for name, keep := range map[string]func(*Page, Actuals) *Page{
		"in memory":              func(p *Page, _ Actuals) *Page { return p },
		"over Encode and Decode": func(p *Page, a Actuals) *Page { return recoded(t, p, a) },
		settledFirst:             func(p *Page, a Actuals) *Page { p.Settle(a, at(2000).Add(SettledAfter)); return recoded(t, p, a) },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(13, 14))
			known := byLocation(map[string]*forecast.Series{"A": randomSeries(r, 0, 1500), "B": randomSeries(r, 0, 4000)})
			later := byLocation(map[string]*forecast.Series{"A": randomSeries(r, 0, 4000), "B": randomSeries(r, 0, 4000)})
			p, times := pageOf(t, r, 200), map[string]int{}
			for i, actuals := range []Actuals{nil, known, known, later, later, nil} {
				for _, c := range p.Count(actuals, at(3000)) {
					times[c.Group.UID]++
					if i == 1 && name != settledFirst && !c.Account.IsCompared {
						t.Fatalf("a group is counted that is not known: %+v", c)
					}
				}
				p = keep(p, actuals)
			}
			p.Count(later, at(99999))
			if len(times) != 200 {
				t.Errorf("%d of 200 groups are counted", len(times))
			}
			for uid, n := range times {
				if n != 1 {
					t.Errorf("%s is counted %d times", uid, n)
				}
			}
		})
	}
}

func TestGroupsThatNeverBecomeKnownAreCountedOnceTheyAreSettled(t *testing.T) {
	p := NewPage("2026-03-31")
	g := waited(2, Enforce)
	p.Book(g)
	if n := len(p.Count(nil, g.Ended.Add(SettledAfter-1))); n != 0 {
		t.Errorf("%d are counted too early", n)
	}
	counted := p.Count(nil, g.Ended.Add(SettledAfter))
	if len(counted) != 1 || counted[0].Account.IsKnown || counted[0].Account.Joules != 3.6e6 {
		t.Errorf("counted: %+v", counted)
	}
}

func TestSettlingKeepsTheSums(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	actuals := byLocation(map[string]*forecast.Series{"A": randomSeries(r, 0.02, 3000), "B": randomSeries(r, 0.02, 3000)})
	p := pageOf(t, r, 500)
	want := p.Sums(actuals)
	for minute := 0; minute < 3000; minute += 100 {
		p.Settle(actuals, at(minute).Add(SettledAfter))
		if diff := cmp.Diff(want, p.Sums(actuals), nearly()); diff != "" {
			t.Fatalf("at minute %d: %s", minute, diff)
		}
	}
	p.Count(actuals, at(99999))
	if !p.IsSettled() || p.Settle(actuals, at(99999)) {
		t.Error("not all is settled")
	}
	if diff := cmp.Diff(want, p.Sums(only(hourly(1, 2, 3))), nearly()); diff != "" {
		t.Errorf("a revision counts after the group was settled: %s", diff)
	}
}

func TestARevisionCountsUntilTheGroupIsSettled(t *testing.T) {
	p := NewPage("2026-03-31")
	p.Book(waited(2, Enforce))
	grams := func(a Actuals) float64 { return p.Sums(a)[0].Grams }
	if first, revised := grams(only(hourly(300, 500, 100, 200))), grams(only(hourly(300, 500, 150, 200))); first != 100 || revised != 150 {
		t.Errorf("%v g, then %v g", first, revised)
	}
	if gone := grams(only(hourly(300))); gone != 150 {
		t.Errorf("once the provider knows the first hour only, %v g are left of 150", gone)
	}
}

func TestMergingPagesIsAsAddingAllGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	actuals := byLocation(map[string]*forecast.Series{"A": randomSeries(r, 0.02, 3000), "B": randomSeries(r, 0.02, 3000)})
	all, month := NewPage("2026-03-31"), NewPage("2026-03")
	for d := range 3 {
		day := NewPage(fmt.Sprintf("2026-03-%02d", d+1))
		for n := range 100 {
			g := randomGroup(r, 1000*d+n)
			day.Book(g)
			all.Book(g)
		}
		day.Settle(actuals, at(99999))
		if !month.Merge(day) {
			t.Error("a page is not merged")
		}
		month = recoded(t, month, nil)
		if month.Merge(day) {
			t.Error("a page is merged twice")
		}
	}
	if diff := cmp.Diff(all.Sums(actuals), month.Sums(nil), nearly()); diff != "" {
		t.Error(diff)
	}
}

func TestSumsHaveAtMostAThousandKeys(t *testing.T) {
	for name, vary := range map[string]func(*Group, int){
		"owners":     func(g *Group, n int) { g.Owner, g.Namespace = fmt.Sprint(n), fmt.Sprint(n%3) },
		"namespaces": func(g *Group, n int) { g.Namespace = fmt.Sprint(n) },
		"everything": func(g *Group, n int) {
			g.Owner, g.Namespace, g.Policy, g.Location = fmt.Sprint(n), fmt.Sprint(n), fmt.Sprint(n), fmt.Sprint(n)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPage("2026-03-31")
			r := rand.New(rand.NewPCG(19, 20))
			joules := 0.0
			for n := range 5000 {
				g := randomGroup(r, n)
				vary(&g, n)
				p.Book(g)
				joules += newProfile(g.Steps).joules
			}
			before := p.Sums(nil)
			p.Settle(nil, at(99999))
			got := 0.0
			for _, s := range p.Sums(nil) {
				got += s.Joules
			}
			if n := len(p.Sums(nil)); n > maxKeys || n < maxOwnKeys || math.Abs(got-joules) > 1e-9*joules {
				t.Errorf("%d keys, %v J of %v", n, got, joules)
			}
			if diff := cmp.Diff(before, p.Sums(nil), nearly()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// manyGroups books groups as a cluster has them: with random UIDs and names.
func manyGroups(p *Page, groups int) {
	r := rand.New(rand.NewPCG(21, 22))
	for n := range groups {
		g := randomGroup(r, n)
		g.UID = fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48))
		g.Name = fmt.Sprintf("nightly-%08d-%05x", n, r.IntN(1<<20))
		g.Steps = g.Steps[:1]
		g.Steps[0].Watts = 2.52 * float64(1+r.IntN(16))
		p.Book(g)
	}
}

func TestAPageWithThirtyThousandGroupsFits(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	r := rand.New(rand.NewPCG(23, 24))
	actuals := byLocation(map[string]*forecast.Series{"A": randomSeries(r, 0, 3000), "B": randomSeries(r, 0, 3000)})
	p := NewPage("2026-03-31")
	manyGroups(p, 30000)
	groups, want := p.Groups(), p.Sums(actuals)
	encoded, err := p.Encode(actuals)
	if err != nil || len(encoded) > MaxPageBytes {
		t.Fatalf("%d bytes: %v", len(encoded), err)
	}
	q, err := Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d of 30,000 groups are not settled", len(encoded), len(q.Groups()))
	if n := len(q.Groups()); n < 1000 || n == 30000 {
		t.Errorf("%d groups are not settled", n)
	}
	for _, g := range groups {
		if q.Book(g) {
			t.Fatalf("%s is booked twice", g.UID)
		}
	}
	if diff := cmp.Diff(want, q.Sums(actuals), nearly()); diff != "" {
		t.Error(diff)
	}
}

func TestAPageOfLongRandomNamesFits(t *testing.T) {
	for name, owner := range map[string]func(random string) string{
		"with owners":    func(random string) string { return random },
		"without owners": func(string) string { return Others },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(25, 26))
			random := func() string {
				name := make([]byte, maxNameBytes)
				for i := range name {
					name[i] = byte('!' + r.IntN(90))
				}
				return string(name)
			}
			p, joules := NewPage("2026-03-31"), 0.0
			for n := range 2000 {
				g := randomGroup(r, n)
				g.Owner, g.Namespace, g.Policy, g.Location = owner(random()), random(), random(), random()
				p.Book(g)
				joules += newProfile(g.Steps).joules
			}
			encoded, err := p.Encode(nil)
			if err != nil || len(encoded) > MaxPageBytes {
				t.Fatalf("%d bytes: %v", len(encoded), err)
			}
			q, err := Decode(encoded)
			if err != nil {
				t.Fatal(err)
			}
			got := 0.0
			for _, s := range q.Sums(nil) {
				got += s.Joules
			}
			if math.Abs(got-joules) > 1e-9*joules || len(q.Sums(nil)) < 100 {
				t.Errorf("%v J of %v are left, in %d sums", got, joules, len(q.Sums(nil)))
			}
		})
	}
}

// Random digests do not become shorter by compression.
func TestAPageForgetsItsOldestDigestsIfThereAreTooMany(t *testing.T) {
	p := NewPage("2026-03-31")
	for _, hour := range []int64{math.MinInt64, 7, hourOf(t0), math.MaxInt64 - 1, math.MaxInt64} {
		for n := range 30000 {
			p.settled[digestOf(fmt.Sprint(hour, n))] = hour
		}
	}
	encoded, err := p.Encode(nil)
	if err != nil || len(encoded) > MaxPageBytes {
		t.Fatalf("%d bytes: %v", len(encoded), err)
	}
	q, err := Decode(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if q.Has(fmt.Sprint(int64(math.MinInt64), 1)) || !q.Has(fmt.Sprint(int64(math.MaxInt64), 1)) || !q.Has(fmt.Sprint(hourOf(t0), 1)) {
		t.Error("the wrong groups are forgotten")
	}
}

// zipped compresses a text as Encode does.
func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}

func TestDecodeRefusesWhatIsNoPage(t *testing.T) {
	for name, tt := range map[string]struct{ text, err string }{
		"no JSON":            {`{`, "page is broken: unexpected end of JSON input"},
		"no version":         {`{"name":"2026-03-31"}`, "page is of version 0, want 1"},
		"a later version":    {`{"version":2,"name":"x"}`, "page is of version 2, want 1: the page is of a newer program"},
		"a name that is not": {`{"version":1,"name":"../../x"}`, `page: name: "../../x": want a day (2006-01-02) or a month (2006-01)`},
		"cut digests":        {`{"version":1,"name":"2026-03-31","settled":{"7":"AAAA"}}`, "settled: hour 7: 3 bytes: want a multiple of 6"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Decode(zipped(tt.text)); err == nil || err.Error() != tt.err {
				t.Errorf("got %v, want %s", err, tt.err)
			}
		})
	}
	if _, err := Decode([]byte("x")); err == nil {
		t.Error("text is read as a page")
	}
	if _, err := Decode(zipped(`{"version":9,"name":"2026-03-31"}`)); !errors.Is(err, ErrNewerPage) {
		t.Error(err)
	}
	if _, err := Decode(zipped(string(bytes.Repeat([]byte(" "), maxPlainBytes+2)))); err == nil {
		t.Error("a page of any size is read")
	}
	many := `{"version":1,"name":"2026-03-31","groups":[{}` + string(bytes.Repeat([]byte(",{}"), maxElements)) + `]}`
	if _, err := Decode(zipped(many)); err == nil {
		t.Error("any number of groups is read")
	}
}

func FuzzDecodeNeverPanics(f *testing.F) {
	for _, text := range []string{
		`{"version":1,"name":"2026-03-31"}`,
		`{"version":1,"name":"2026-03","sums":[{"groups":-9223372036854775808,"joules":1e308,"grams":-1e308},{"groups":9223372036854775807,"joules":-1,"grams":1e308}]}`,
		`{"version":1,"name":"2026-03-31","groups":[{"uid":"a","wait":-9223372036854775808,"units":1e308,"grams":1e38,"otherGrams":-1e38,"steps":[{"start":"0001-01-01T00:00:00Z","end":"9999-12-31T23:59:59Z","watts":1e308,"failedWatts":1e308}]}]}`,
		`{"version":1,"name":"2026-03-31","uncounted":[{"uid":"","failedGrams":-1}],"settled":{"-9223372036854775808":"AAAAAAAA"},"merged":["","\u0000"]}`,
		`{"version":1,"name":"2026-03-31","groups":{"uid":["a"],"kind":[""],"namespace":["n"],"name":["x"],"owner":["o"],"policy":[""],"mode":["Audit"],"source":["s"],"location":["A"],"otherLocation":["B"],"energy":["Stated"],"seenEnd":[true],"failed":[false],"isCounted":[true],"ended":[1e300],"arrived":[-1e300],"latestStart":[7],"released":[0.0005],"wait":[-9e99],"units":[-1],"embodiedGrams":[1e308],"coreHours":[5],"steps":[2],"begin":[-5,1e9],"seconds":[10,1e-9],"watts":[1e308,3],"failedWatts":[1e308,4],"grams":[3],"failedGrams":[-3e38],"otherGrams":[null],"oracleGrams":[4]}}`,
		`{"version":1,"name":"2026-03-31","groups":{"uid":["a"],"steps":[9]}}`,
		`{"version":1,"name":"2026-03-31","groups":null,"sums":[null],"settled":null}`,
	} {
		f.Add(text)
	}
	series := hourly(300, 500, 100, 200)
	f.Fuzz(func(t *testing.T, text string) {
		for _, encoded := range [][]byte{[]byte(text), zipped(text)} {
			p, err := Decode(encoded)
			if err != nil {
				continue
			}
			p.Count(only(series), at(0))
			for _, s := range p.Sums(only(series)) {
				share, _ := s.OracleShare()
				sci, _ := s.SCI()
				mean, _ := s.MeanIntensity()
				for _, x := range []float64{share, sci, mean, s.SavedGrams()} {
					if math.IsNaN(x) || math.IsInf(x, 0) {
						t.Fatalf("%+v", s)
					}
				}
			}
			p.Settle(only(series), at(99999))
			recoded(t, p, only(series))
		}
	})
}

func BenchmarkTenThousandGroups(b *testing.B) {
	var slots []forecast.Slot
	r := rand.New(rand.NewPCG(27, 28))
	for m := -5 * 24 * 60; m < 3000; m += 5 {
		slots = append(slots, forecast.Slot{Start: at(m), End: at(m + 5), Intensity: 100 + r.Float64()*300})
	}
	for b.Loop() {
		series := forecast.NewSeries(slots)
		p := NewPage("2026-03-31")
		manyGroups(p, 10000)
		p.Count(only(series), at(3000))
		p.Sums(only(series))
		if _, err := p.Encode(only(series)); err != nil {
			b.Fatal(err)
		}
	}
}

func TestOneNamespaceTakesNotAllOwnersOfAPage(t *testing.T) {
	p := NewPage(DayOf(t0))
	book := func(namespace string, owners int) {
		for i := range owners {
			p.Book(Group{UID: fmt.Sprint(namespace, i), Namespace: namespace, Owner: fmt.Sprint("Job/", i), Arrived: t0, Released: t0, Ended: t0.Add(time.Hour), SeenEnd: true})
		}
	}
	book("crowd", 3000)
	book("shop", 2)
	owners := map[string]int{}
	for _, sum := range p.Sums(nil) {
		if sum.Owner != Others {
			owners[sum.Namespace]++
		}
	}
	if owners["shop"] != 2 || owners["crowd"] == 0 || owners["crowd"] > maxKeysOfOne {
		t.Errorf("owners by namespace: %v", owners)
	}
}
