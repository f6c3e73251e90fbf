//! An order read off a list that comparisons have sorted, with its ties.
//!
//! Two neighbours tie where they tied when last compared. Neighbours that never met tie where both
//! tied, link by link, with the same others. That is all ties there are for a judge who is sure of a
//! weak order: a sorting network sorts whichever way a class of equals is split in two, so some
//! comparison must have joined the parts.

use std::cmp::Ordering;

use rlaif_rank::Ranking;

/// The order of `sorted`, best first. `compared(a, b)` is what the last comparison of the two said,
/// `Less` where `a` is better; none where they never met.
pub(super) fn read_off(
    sorted: &[usize],
    compared: impl Fn(usize, usize) -> Option<Ordering>,
) -> Option<Ranking> {
    let classes = classes(sorted.len(), &compared);
    let mut ranks = vec![None; sorted.len()];
    let mut level = 0;
    for (at, candidate) in sorted.iter().enumerate() {
        if let Some(above) = at.checked_sub(1).map(|above| sorted[above]) {
            let tied = match compared(above, *candidate) {
                Some(said) => said == Ordering::Equal,
                None => classes[above] == classes[*candidate],
            };
            level += usize::from(!tied);
        }
        ranks[*candidate] = Some(level);
    }
    Ranking::from_ranks(ranks).ok()
}

/// Candidates that ties connect share a class.
fn classes(n: usize, compared: impl Fn(usize, usize) -> Option<Ordering>) -> Vec<usize> {
    let mut class: Vec<Option<usize>> = vec![None; n];
    for start in 0..n {
        let mut open = if class[start].is_none() { vec![start] } else { Vec::new() };
        while let Some(at) = open.pop() {
            if class[at].replace(start).is_some() {
                continue;
            }
            let tied = |other: &usize| {
                class[*other].is_none() && compared(at, *other) == Some(Ordering::Equal)
            };
            open.extend((0..n).filter(tied));
        }
    }
    class.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sorted: &[usize], said: &[(usize, usize, Ordering)]) -> String {
        let compared = |a: usize, b: usize| {
            said.iter().find_map(|(x, y, said)| match (*x, *y) {
                (x, y) if (x, y) == (a, b) => Some(*said),
                (x, y) if (x, y) == (b, a) => Some(said.reverse()),
                _ => None,
            })
        };
        read_off(sorted, compared).unwrap().to_string()
    }

    #[test]
    fn neighbours_tie_directly_or_through_others() {
        use Ordering::{Equal, Less};
        assert_eq!(read(&[2, 0, 1], &[(2, 0, Less), (0, 1, Equal)]), "[3] > [1] = [2]");
        // 0 and 2 never met; both tied with 1.
        assert_eq!(read(&[0, 2, 1], &[(0, 1, Equal), (1, 2, Equal)]), "[1] = [2] = [3]");
        // A direct comparison outweighs the detour.
        let said = [(0, 1, Equal), (1, 2, Equal), (0, 2, Less)];
        assert_eq!(read(&[0, 2, 1], &said), "[1] > [2] = [3]");
    }
}
