package keep

import (
	"context"
	"errors"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/pages"
)

// keptDays is how many days are kept one by one. An older day becomes a part of its month.
const keptDays = 400

// archive moves the oldest day that is too old to the page of its month: one day in a pass. The
// page of the month says which days it has, so that a day whose deletion fails is not merged again.
func (s *shelf) archive(ctx context.Context, now time.Time) error {
	if len(s.days) == 0 || s.days[0] >= ledger.DayOf(now.AddDate(0, 0, -keptDays)) || !s.mayWriteOther(now) {
		return nil
	}
	day := s.days[0]
	e, err := s.store.Read(ctx, day)
	into := e
	if err == nil {
		into, err = s.store.Read(ctx, day[:len("2006-01")])
	}
	if errors.Is(err, pages.ErrDamaged) || s.dirty[day] {
		s.days = s.days[1:] // it stays as it is
	}
	if err != nil || s.dirty[day] {
		return err
	}
	if !slices.Contains(into.Days, day) {
		e.Page.Settle(s.actuals, now)
		into.Page.Merge(e.Page)
		into.Days = append(into.Days, day)
		slices.Sort(into.Days)
		if _, err := s.store.Write(ctx, into, s.actuals); err != nil {
			return err
		}
		s.otherWrites = append(s.otherWrites, now)
	}
	if err := s.store.Delete(ctx, e); err != nil {
		return err
	}
	log.FromContext(ctx).Info("a day of the ledger is a part of its month now", "day", day)
	s.days = s.days[1:]
	delete(s.entries, day)
	delete(s.dirty, day)
	return nil
}
