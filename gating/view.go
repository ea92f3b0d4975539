package gating

import (
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// view is what a policy knows of one of its locations at a moment.
type view struct {
	name          string
	known         bool    // the forecast has a slot for now
	intensity     float64 // of that slot
	issued, until time.Time
	usable        bool
	missing       string // why it is not usable
}

// views returns one view for each location of the policy, the default first.
func (p *Policy) views(book *forecast.Book, now time.Time) []view {
	names := []string{""}
	if len(p.spec.Locations) > 0 {
		names = nil
		for _, l := range p.spec.Locations {
			names = append(names, l.Name)
		}
	}
	views := make([]view, len(names))
	for i, name := range names {
		views[i] = p.view(book, name, now)
	}
	return views
}

func (p *Policy) view(book *forecast.Book, name string, now time.Time) view {
	v := view{name: name}
	f, ok := book.Forecast(name)
	if ok {
		v.issued, v.until = f.Issued, f.Series.End()
		v.intensity, v.known = f.Series.At(now)
		if name == "" {
			v.name = f.Location
		}
	}
	usable, missing := p.forecast(book, name, now)
	v.usable = !usable.Series.Empty()
	if !v.usable {
		v.missing = missing
	}
	return v
}
