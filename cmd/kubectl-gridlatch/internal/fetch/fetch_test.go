package fetch

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

var now = time.Date(2026, 11, 21, 21, 0, 0, 0, time.UTC)

// A fake is a provider with a past by hours. It notes what it is asked.
type fake struct {
	page   time.Duration
	first  time.Time // the past begins here
	past   func(from, to time.Time) (provider.Reading, error)
	widths []time.Duration
}

func (f *fake) Describe() provider.Description {
	return provider.Description{Source: "Fake", Signal: forecast.Signal{Kind: forecast.Average}, Page: f.page}
}

func (*fake) Forecast(context.Context, string) (provider.Reading, error) {
	return provider.Reading{Zone: "X", Series: forecast.NewSeries([]forecast.Slot{{Start: now, End: now.Add(time.Hour), Intensity: 1}})}, nil
}

func (f *fake) Past(_ context.Context, _ string, from, to time.Time) (provider.Reading, error) {
	f.widths = append(f.widths, to.Sub(from))
	if f.past != nil {
		return f.past(from, to)
	}
	return f.hours(from, to)
}

func (f *fake) hours(from, to time.Time) (provider.Reading, error) {
	var slots []forecast.Slot
	for at := from; at.Before(to); at = at.Add(time.Hour) {
		if !at.Before(f.first) {
			slots = append(slots, forecast.Slot{Start: at, End: at.Add(time.Hour), Intensity: float64(at.Unix() / 3600 % 100)})
		}
	}
	if slots == nil {
		return provider.Reading{}, provider.ErrNoData
	}
	return provider.Reading{Series: forecast.NewSeries(slots), Elements: len(slots)}, nil
}

func TestThePastIsFetchedInPagesThatAreNotShort(t *testing.T) {
	for name, tt := range map[string]struct {
		span  time.Duration
		pages int
	}{
		"an hour":      {time.Hour, 1},
		"a page":       {10 * 24 * time.Hour, 1},
		"a bit more":   {10*24*time.Hour + time.Hour, 2},
		"three months": {90 * 24 * time.Hour, 9},
		"91 days":      {91 * 24 * time.Hour, 10},
		"ten years":    {3660 * 24 * time.Hour, 366},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			var done []float64
			d, err := Zone{f, "X"}.Past(t.Context(), now.Add(-tt.span), now, func(p Progress) { done = append(done, p.Share) })
			if err != nil {
				t.Fatal(err)
			}
			if len(f.widths) != tt.pages || len(done) != tt.pages || done[len(done)-1] != 1 {
				t.Errorf("%d pages, want %d; done %v", len(f.widths), tt.pages, done)
			}
			for _, width := range f.widths {
				if width > minPageWidth+time.Hour || width < min(tt.span, 4*24*time.Hour) || width%time.Hour != 0 {
					t.Errorf("a page of %s", width)
				}
			}
			if want := int(tt.span.Hours()); d.Elements != want || len(d.Series.Slots()) != want || len(d.Remarks()) > 0 {
				t.Errorf("%d elements, %d values, want %d; remarks %q", d.Elements, len(d.Series.Slots()), want, d.Remarks())
			}
		})
	}
}

func TestAPageIsAsWideAsTheProviderGives(t *testing.T) {
	const day = 24 * time.Hour
	for width, pages := range map[time.Duration]int{56 * day: 2, 30 * day: 3, 7 * day: 9} {
		f := &fake{page: width}
		if _, err := (Zone{f, "X"}).Past(t.Context(), now.Add(-90*day), now, func(Progress) {}); err != nil || len(f.widths) != pages {
			t.Errorf("%s at a time: %d pages, %v, want %d", width, len(f.widths), err, pages)
		}
	}
}

func TestWhatIsMissingIsTold(t *testing.T) {
	const day = 24 * time.Hour
	broken := errors.New("broken")
	from := now.Add(-40 * day)
	for name, tt := range map[string]struct {
		fake    fake
		remarks []string
		values  int
		pages   int
		err     error
	}{
		"data that begin late": {
			fake{first: now.Add(-25 * day)}, []string{
				"zone X of Fake, average: only a part of the past is there: no usable value", "zone X of Fake, average: 15d of 40d are not known",
			}, 25 * 24, 4, nil,
		},
		"nothing at all": {fake{first: now}, nil, 0, 4, provider.ErrNoData},
		"an error at once": {
			fake{past: func(_, _ time.Time) (provider.Reading, error) { return provider.Reading{}, broken }}, nil, 0, 1, broken,
		},
		"an error after 20 days": {
			fake{past: func(from, to time.Time) (provider.Reading, error) {
				if from.Before(now.Add(-20 * day)) {
					return provider.Reading{}, broken
				}
				return (&fake{}).hours(from, to)
			}}, []string{"zone X of Fake, average: only a part of the past is there: broken", "zone X of Fake, average: 20d of 40d are not known"}, 20 * 24, 3, nil,
		},
		"a plan with little of the past": {
			fake{past: func(_, to time.Time) (provider.Reading, error) {
				r, err := (&fake{}).hours(to.Add(-day), to)
				r.Incomplete = provider.ErrNotInPlan
				return r, err
			}}, []string{"zone X of Fake, average: only a part of the past is there: not in this plan", "zone X of Fake, average: 39d of 40d are not known"}, 24, 1, nil,
		},
		"dirty data": {
			fake{past: func(from, to time.Time) (provider.Reading, error) {
				r, err := (&fake{}).hours(from, to)
				r.BadElements, r.Problem, r.Doubted, r.Doubt, r.Estimated, r.Unknown = 1, "bad", 2, "2 of 240 values are not believed", 3, 4
				return r, err
			}}, []string{
				"zone X of Fake, average: 4 of 960 elements cannot be read; the first: bad",
				"zone X of Fake, average: 2 of 240 values are not believed; and 6 other values", "zone X of Fake, average: estimated by the provider: 12 of 960 values",
			}, 40 * 24, 4, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Zone{&tt.fake, "X"}.Past(t.Context(), from, now, func(Progress) {})
			if !errors.Is(err, tt.err) || len(tt.fake.widths) != tt.pages {
				t.Fatalf("%v after %d pages, want %v after %d", err, len(tt.fake.widths), tt.err, tt.pages)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tt.remarks, d.Remarks()); diff != "" || len(d.Series.Slots()) != tt.values {
				t.Errorf("%d values, want %d; remarks (-want +got):\n%s", len(d.Series.Slots()), tt.values, diff)
			}
		})
	}
}

func TestAnInterruptEndsAFetch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{}
	_, err := Zone{f, "X"}.Past(ctx, now.Add(-40*24*time.Hour), now, func(Progress) { cancel() })
	if !errors.Is(err, context.Canceled) || len(f.widths) != 2 {
		t.Errorf("%v after %d pages", err, len(f.widths))
	}
}

func TestAForecastWithoutItsTimeIsIssuedNow(t *testing.T) {
	d, err := Zone{&fake{}, "X"}.Forecast(t.Context(), now)
	if err != nil || !d.Issued.Equal(now) {
		t.Errorf("%v, issued %s", err, d.Issued)
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	const m = time.Minute
	slots := func(parts ...any) []forecast.Slot { // widths and intensities
		at, all := now, []forecast.Slot{}
		for i := 0; i < len(parts); i += 2 {
			width, intensity := parts[i].(time.Duration), parts[i+1].(float64)
			if intensity > 0 { // else a gap
				all = append(all, forecast.Slot{Start: at, End: at.Add(width), Intensity: intensity})
			}
			at = at.Add(width)
		}
		return all
	}
	for name, given := range map[string][]forecast.Slot{
		"hours":                      slots(60*m, 100.5, 60*m, 101.25, 60*m, 99.0),
		"a gap":                      slots(60*m, 100.0, 60*m, 101.0, 180*m, 0.0, 60*m, 99.0),
		"hours, then quarters":       slots(60*m, 100.0, 60*m, 101.0, 15*m, 99.0, 15*m, 98.0, 15*m, 97.0),
		"a short slot before a gap":  slots(60*m, 100.0, 30*m, 101.0, 45*m, 0.0, 60*m, 99.0, 30*m, 70.0),
		"one slot":                   slots(60*m, 100.0, 60*m, 100.0),
		"the digits of another unit": slots(5*m, 870.1*453.59237/1000, 5*m, 394.62536190000004),
	} {
		t.Run(name, func(t *testing.T) {
			var file bytes.Buffer
			if err := (Data{Reading: provider.Reading{Series: forecast.NewSeries(given)}}).WriteCSV(&file); err != nil {
				t.Fatal(err)
			}
			got, err := backtest.ReadActuals("x.csv", &file)
			if err != nil {
				t.Fatal(err)
			}
			for _, slot := range given {
				if mean, covered := got.Series.Mean(slot.Start, slot.End); mean != slot.Intensity && !isNear(mean, slot.Intensity) || covered != slot.End.Sub(slot.Start) {
					t.Errorf("%s to %s: %v over %s, want %v", slot.Start, slot.End, mean, covered, slot.Intensity)
				}
			}
			_, want := forecast.NewSeries(given).Mean(now.Add(-time.Hour), now.Add(24*time.Hour))
			if _, covered := got.Series.Mean(now.Add(-time.Hour), now.Add(24*time.Hour)); covered != want {
				t.Errorf("covers %s, want %s", covered, want)
			}
		})
	}
}

func isNear(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }

func TestAForecastIsReadAgain(t *testing.T) {
	d := Data{Reading: provider.Reading{Issued: now, Series: forecast.NewSeries([]forecast.Slot{
		{Start: now, End: now.Add(30 * time.Minute), Intensity: 100}, {Start: now.Add(30 * time.Minute), End: now.Add(time.Hour), Intensity: 200},
	})}}
	var file strings.Builder
	if err := d.WriteCSV(&file); err != nil {
		t.Fatal(err)
	}
	got, err := backtest.ReadForecasts("x.csv", strings.NewReader(file.String()))
	if err != nil || len(got.Documents) != 1 || !got.Documents[0].Issued.Equal(now) {
		t.Fatalf("%v: %+v", err, got)
	}
	if diff := cmp.Diff(d.Series.Slots(), got.Documents[0].Series.Slots()); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
}
