package scaler

import "net/netip"

// places are what calls take. If all are taken, a call of a caller who has fewer places than another caller
// takes one of the other's. So nobody can take the places of all.
type places struct {
	max, taken int
	byCaller   map[netip.Addr]map[*call]bool
}

// take gives a call a place, if there is one for its caller.
func (p *places) take(c *call) bool {
	if p.taken >= p.max && !p.clear(c.caller) {
		return false
	}
	if p.byCaller == nil {
		p.byCaller = map[netip.Addr]map[*call]bool{}
	}
	if p.byCaller[c.caller] == nil {
		p.byCaller[c.caller] = map[*call]bool{}
	}
	p.byCaller[c.caller][c], c.place = true, p
	p.taken++
	return true
}

// clear ends a call of the caller who has the most places, if the one who needs a place has fewer still with it.
func (p *places) clear(needs netip.Addr) bool {
	most := needs
	for caller, calls := range p.byCaller {
		if len(calls) > len(p.byCaller[most]) {
			most = caller
		}
	}
	if len(p.byCaller[most]) <= len(p.byCaller[needs])+1 {
		return false
	}
	for c := range p.byCaller[most] {
		p.free(c)
		c.cancel()
		return true
	}
	return false
}

// free takes the place of a call back.
func (p *places) free(c *call) {
	calls := p.byCaller[c.caller]
	delete(calls, c)
	if len(calls) == 0 {
		delete(p.byCaller, c.caller)
	}
	c.place = nil
	p.taken--
}
