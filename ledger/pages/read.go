package pages

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/ledger"
)

// Read reads the pages of the days in [since, until), and of the months that have some of these
// days, in the order of their names. A page that is damaged is missing, and the error says so
// beside the rest. A day that is in the page of its month does not come again.
func Read(ctx context.Context, s Store, since, until time.Time) ([]*ledger.Page, error) {
	listed, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	var all []*ledger.Page
	var damaged []error
	for _, l := range inSpan(listed, since.UTC(), until.UTC()) {
		e, err := s.Read(ctx, l.Name)
		switch {
		case errors.Is(err, ErrDamaged):
			damaged = append(damaged, err)
		case err != nil:
			return nil, err
		case e.IsStored():
			all = append(all, e.Page)
		}
	}
	return all, errors.Join(damaged...)
}

// inSpan returns the pages of a span of time, without the days that the pages of months have.
func inSpan(listed []Listed, since, until time.Time) []Listed {
	merged := map[string]bool{}
	for _, l := range listed {
		for _, day := range l.Days {
			merged[day] = true
		}
	}
	from, to := since.Format(time.DateOnly), until.Add(-1).Format(time.DateOnly)
	return slices.DeleteFunc(slices.Clone(listed), func(l Listed) bool {
		if isMonth(l.Name) {
			return l.Name < from[:len(l.Name)] || l.Name > to[:len(l.Name)]
		}
		return merged[l.Name] || l.Name < from || l.Name > to
	})
}
