//! Matrix multiplication into a given buffer, over checked views.

use ::gemm::Parallelism;

/// A read-only matrix over a slice, with strides in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// A matrix to write, with contiguous rows.
#[derive(Debug)]
pub(crate) struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

/// Whether one multiplication may use the whole thread pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    All,
}

/// Panics unless the last element of a strided matrix lies inside `len` elements.
fn check(len: usize, rows: usize, cols: usize, row_stride: usize, col_stride: usize) {
    if rows > 0 && cols > 0 {
        let last = (rows - 1)
            .checked_mul(row_stride)
            .zip((cols - 1).checked_mul(col_stride))
            .and_then(|(r, c)| r.checked_add(c));
        assert!(last.is_some_and(|last| last < len), "matrix {rows} x {cols} leaves {len} numbers");
    }
}

impl<'a> Mat<'a> {
    /// A strided view of `data`.
    pub(crate) fn strided(
        data: &'a [f32],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        check(data.len(), rows, cols, row_stride, col_stride);
        Self { data, rows, cols, row_stride, col_stride }
    }

    /// A row-major view without gaps.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols, 1)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// The transposed view.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// The block of `rows` rows and `cols` columns from (`row`, `col`) on.
    pub(crate) fn block(self, row: usize, rows: usize, col: usize, cols: usize) -> Self {
        assert!(row + rows <= self.rows && col + cols <= self.cols, "block leaves its matrix");
        let start = (row * self.row_stride + col * self.col_stride).min(self.data.len());
        Self { data: &self.data[start..], rows, cols, ..self }
    }

    /// One row, where rows are contiguous.
    pub(crate) fn row(&self, i: usize) -> &'a [f32] {
        assert_eq!(self.col_stride, 1, "rows are not contiguous");
        &self.data[i * self.row_stride..][..self.cols]
    }

    /// Whether the elements of a row lie side by side.
    pub(crate) fn has_contiguous_rows(&self) -> bool {
        self.col_stride == 1 || self.cols <= 1
    }
}

impl<'a> MatMut<'a> {
    /// A row-major view without gaps.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A view whose rows start `row_stride` elements apart.
    pub(crate) fn strided(
        data: &'a mut [f32],
        rows: usize,
        cols: usize,
        row_stride: usize,
    ) -> Self {
        assert!(rows <= 1 || cols <= row_stride, "rows overlap");
        check(data.len(), rows, cols, row_stride, 1);
        Self { data, rows, cols, row_stride }
    }
}

/// `out = keep · out + factor · lhs rhs`. With `keep` 0 the old contents of `out` are not read.
#[expect(clippy::needless_pass_by_value, reason = "a view to write is used up")]
pub(crate) fn gemm(
    out: MatMut<'_>,
    keep: f32,
    lhs: Mat<'_>,
    rhs: Mat<'_>,
    factor: f32,
    threads: Threads,
) {
    assert_eq!((out.rows, out.cols), (lhs.rows, rhs.cols), "gemm: shape of the output");
    assert_eq!(lhs.cols, rhs.rows, "gemm: inner sizes");
    // Below this many multiply-adds, starting threads costs more than it brings.
    let large = out.rows * out.cols * lhs.cols >= 1 << 21;
    let parallelism = match threads {
        Threads::All if large => Parallelism::Rayon(0),
        _ => Parallelism::None,
    };
    let stride = |n: usize| isize::try_from(n).expect("strides of a slice fit isize");
    // SAFETY: `check` proved at construction that every element of each view lies in its slice; the
    // output borrows its slice mutably, so it overlaps neither input, and its rows do not overlap.
    unsafe {
        ::gemm::gemm(
            out.rows,
            out.cols,
            lhs.cols,
            out.data.as_mut_ptr(),
            1,
            stride(out.row_stride),
            keep != 0.0,
            lhs.data.as_ptr(),
            stride(lhs.col_stride),
            stride(lhs.row_stride),
            rhs.data.as_ptr(),
            stride(rhs.col_stride),
            stride(rhs.row_stride),
            keep,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}
