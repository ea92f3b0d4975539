package keep

import "github.com/gridlatch/gridlatch/ledger"

// Rows keeps the groups that it is offered one by one, as a database does.
type Rows interface {
	// Offer says what the rows should be at least. It never waits. What was offered before and is not
	// written yet is forgotten.
	Offer(groups []ledger.Counted)
}

// offerRows offers all groups that the pages have one by one, with their accounts as they are known now. It
// comes before groups are settled, so that the rows have their last accounts, too.
func (k *Keeper) offerRows() {
	if k.Rows == nil {
		return
	}
	var all []ledger.Counted
	for _, e := range k.shelf.entries {
		all = append(all, e.Page.Accounts(k.actuals)...)
	}
	k.Rows.Offer(all)
}
