import { parseFile } from './document.ts'
import type { Answer, Asked } from './document-process.ts'
import { pack } from './packed.ts'

// The process that parses YAML for another: see document-process.ts. It ends with whoever started it.
process.on('message', ({ file, bytes }: Asked) => {
  const { data, ...parsed } = parseFile(file, bytes)
  const answer: Answer = { ...parsed, packed: pack(data) }
  process.send?.(answer)
})
