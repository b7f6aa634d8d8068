/** Puts the pieces of a stream together to lines. */
export interface Lines {
  /** Bytes that a line may have. */
  readonly most: number
  /** @returns the lines that this piece completes, without empty ones; undefined where one is too long, and then no more may be given */
  readonly take: (piece: Uint8Array) => string[] | undefined
}

const lineEnd = 0x0a

/** Lines that end with LF. What has no end is never told: a stream that broke off ends in half a line. */
export function createLines(most: number): Lines {
  let kept: Uint8Array[] = []
  let size = 0
  return {
    most,
    take(piece) {
      const lines: string[] = []
      for (let from = 0; from < piece.length; ) {
        const end = piece.indexOf(lineEnd, from)
        const part = piece.subarray(from, end < 0 ? piece.length : end)
        size += part.length
        if (size > most) return undefined
        kept.push(part)
        if (end < 0) break
        const line = Buffer.concat(kept).toString()
        kept = []
        size = 0
        if (line.trim() !== '') lines.push(line)
        from = end + 1
      }
      return lines
    },
  }
}
