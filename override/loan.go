package override

// Loan is what the notes on an object remember of a field that we have changed.
type Loan struct {
	// Original is the value that the owner gets back.
	Original Value
	// Applied is the value that we have set.
	Applied Value
}

// Standing is what has become of a lent field since we changed it.
type Standing struct {
	// Original is the value that the owner wants by now.
	Original Value
	// IsUndone says that the field does not have the value that we have set.
	IsUndone bool
	// IsReverted says that somebody has put the remembered original back.
	IsReverted bool
}

// Standing compares a field with what is remembered of it. Without a loan the field is its owner's.
//
// A revert leaves the original as it is. Any other value than ours, and our very value written by
// somebody else, is what the owner wants from now on.
func (o *Object) Standing(f Field, loan *Loan) Standing {
	now := o.Value(f)
	if loan == nil {
		return Standing{Original: now}
	}
	s := Standing{Original: loan.Original, IsUndone: now != loan.Applied}
	s.IsReverted = s.IsUndone && now == loan.Original
	if s.IsUndone || o.IsRewritten(f) {
		s.Original = now
	}
	return s
}
