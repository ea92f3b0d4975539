package plan

import (
	"math"
	"sort"
	"time"
)

// A widthCell is a time in which nothing changes: neither the intensity, nor how wide work may be.
type widthCell struct {
	start, end int64 // Unix nanoseconds
	intensity  float64
	isKnown    bool // the forecast covers the cell
	price      float64
	widest     int // with room; less than the least width means that there is no room at all
}

func (c *widthCell) hours() float64 { return float64(c.end-c.start) / float64(time.Hour) }

// widthSlots returns the slots from now on, without the room. The last one has no end.
func (p *Planner) widthSlots() []widthCell {
	if p.slots != nil {
		return p.slots
	}
	add := func(start, at int64) {
		if n := len(p.slots); n > 0 && p.slots[n-1].start >= start {
			return // a slot of less than a second
		}
		intensity, isKnown := p.series.At(time.Unix(0, at))
		if !isKnown {
			intensity = p.fill
		}
		hours := float64(start-p.nowNanos) / float64(time.Hour)
		price := math.Max(intensity, 0) * (1 + p.terms.WaitPrice*hours)
		p.slots = append(p.slots, widthCell{start: start, intensity: intensity, isKnown: isKnown, price: price})
	}
	add(p.nowNanos, p.nowNanos)
	for _, b := range p.boundaries() {
		add(ceilSecond(b), b)
	}
	return p.slots
}

// cells returns the time from now to an end. It is cut where the room for the work changes.
func (p *Planner) cells(e *Elastic, r *room, end int64) []widthCell {
	slots := p.widthSlots()
	cells := make([]widthCell, 0, sort.Search(len(slots), func(i int) bool { return slots[i].start >= end })+1) // one more for a cut
	for i, slot := range slots {
		slot.end, slot.widest = end, e.Most
		if i+1 < len(slots) {
			slot.end = min(slots[i+1].start, end)
		}
		if slot.start >= slot.end {
			break
		}
		if r == nil {
			cells = append(cells, slot)
			continue
		}
		cells = r.cut(cells, slot, e)
	}
	return cells
}

// cutAt cuts the cell in two in which an instant lies.
func cutAt(cells []widthCell, at int64) []widthCell {
	i := sort.Search(len(cells), func(i int) bool { return cells[i].end > at })
	if i == len(cells) || cells[i].start >= at {
		return cells
	}
	cells = append(cells, widthCell{})
	copy(cells[i+1:], cells[i:])
	cells[i].end, cells[i+1].start = at, at
	return cells
}

// cut appends a cell, cut where the room changes for the work.
func (r *room) cut(cells []widthCell, cell widthCell, e *Elastic) []widthCell {
	end, least := cell.end, e.Least-1
	if e.IsRunning {
		least = e.Least // there is no choice any more
	}
	for i := r.cell(cell.start); ; i++ {
		cell.widest = min(max(r.left[i], least), e.Most)
		cell.end = min(end, r.second(i+1))
		last := len(cells) - 1
		switch {
		case cell.start >= cell.end:
		case last >= 0 && cells[last].end == cell.start && cells[last].price == cell.price && cells[last].widest == cell.widest:
			cells[last].end = cell.end
		default:
			cells = append(cells, cell)
		}
		if cell.start = max(cell.start, cell.end); cell.end >= end {
			return cells
		}
	}
}
