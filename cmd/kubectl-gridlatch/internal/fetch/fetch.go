// Package fetch asks a provider about a zone of the grid: for the past, page by page, and for the
// forecast as it is now. What the provider does not give is told, and never made up.
package fetch

import (
	"context"
	"errors"
	"time"

	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

// minPageWidth is how much of the past is asked for at a time at least.
const minPageWidth = 10 * 24 * time.Hour

// scarcePause is how far apart requests must be for people to notice.
const scarcePause = 5 * time.Second

// IsScarce reports whether a provider allows so few requests that people notice the pauses.
func IsScarce(l provider.Limit) bool { return l.Per >= scarcePause*time.Duration(max(l.Requests, 1)) }

// Zone is a zone of the grid, and a provider who knows the zone.
type Zone struct {
	Provider provider.Provider
	// Name is the provider's own name of the zone.
	Name string
}

// Data is what a provider has said of a zone. The counts of the reading add up over all responses.
type Data struct {
	provider.Reading
	Description provider.Description
	// From and To are the span of the past that was asked for; zero for a forecast.
	From, To time.Time

	doubtedFirst int // values of the page that Doubt is about
}

// Progress says how far the fetching of a past is.
type Progress struct {
	// Share is which share of the span has been asked for, in 0..1.
	Share float64
	// Values counts the values so far, and From is where they begin.
	Values int
	From   time.Time
}

// Past fetches the past of a zone in [from, to), the newest page first. tell is called after each
// page.
//
// If the provider gives only a part, Incomplete says why, and the newest part is there. A page
// without a usable value is a gap, and the pages before the gap are fetched, too. It is an error if
// no page has a value, or if the newest page cannot be fetched.
func (z Zone) Past(ctx context.Context, from, to time.Time, tell func(Progress)) (Data, error) {
	d := Data{Description: z.Provider.Describe(), From: from, To: to}
	d.Zone, d.Signal = z.Name, d.Description.Signal
	var slots []forecast.Slot
	for page := range pages(from, to, max(minPageWidth, d.Description.Page)) {
		r, err := z.Provider.Past(ctx, z.Name, page.Start, page.End)
		switch {
		case ctx.Err() != nil:
			return Data{}, ctx.Err()
		case errors.Is(err, provider.ErrNoData):
			d.lack(err)
		case err != nil && len(slots) == 0:
			return Data{}, err
		case err != nil:
			r.Incomplete = err
		}
		d.add(r)
		slots = append(slots, r.Series.Slots()...)
		if r.Incomplete != nil {
			break
		}
		progress := Progress{Share: share(page, from, to), Values: len(slots)}
		if progress.From = page.Start; len(slots) == 0 {
			progress.From = to
		}
		tell(progress)
	}
	if len(slots) == 0 {
		return Data{}, d.Incomplete
	}
	d.Series = forecast.NewSeries(slots)
	return d, nil
}

// Forecast fetches the forecast of a zone as it is now. A forecast without the time of its issue
// counts as issued now.
func (z Zone) Forecast(ctx context.Context, now time.Time) (Data, error) {
	d := Data{Description: z.Provider.Describe()}
	var err error
	if d.Reading, err = z.Provider.Forecast(ctx, z.Name); err != nil {
		if ctx.Err() != nil {
			return Data{}, ctx.Err()
		}
		return Data{}, err
	}
	d.doubtedFirst = d.Doubted
	if d.Issued.IsZero() {
		d.Issued = now
	}
	return d, nil
}

// add adds up what another response says, except for its values.
func (d *Data) add(r provider.Reading) {
	d.Elements, d.BadElements, d.Unknown = d.Elements+r.Elements, d.BadElements+r.BadElements, d.Unknown+r.Unknown
	d.Estimated, d.Doubted = d.Estimated+r.Estimated, d.Doubted+r.Doubted
	if d.Problem == "" {
		d.Problem = r.Problem
	}
	if d.Doubt == "" {
		d.Doubt, d.doubtedFirst = r.Doubt, r.Doubted
	}
	d.lack(r.Incomplete)
}

// lack notes why a part is missing. The first reason stays.
func (d *Data) lack(why error) {
	if d.Incomplete == nil {
		d.Incomplete = why
	}
}

// pages returns the pages of a span, the newest first: as few as possible, nearly of a size, so that
// no page is too short to be judged. Pages begin and end on full hours if the span does.
func pages(from, to time.Time, maxWidth time.Duration) func(yield func(forecast.Slot) bool) {
	count := (to.Sub(from) + maxWidth - 1) / maxWidth
	return func(yield func(forecast.Slot) bool) {
		if count == 0 {
			return
		}
		width := (to.Sub(from)/count + time.Hour - 1).Truncate(time.Hour)
		for end := to; end.After(from); end = end.Add(-width) {
			start := end.Add(-width)
			if start.Before(from) {
				start = from
			}
			if !yield(forecast.Slot{Start: start, End: end}) {
				return
			}
		}
	}
}

// share returns which share of a span is done with a page.
func share(page forecast.Slot, from, to time.Time) float64 {
	return float64(to.Sub(page.Start)) / float64(to.Sub(from))
}
