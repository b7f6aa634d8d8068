#!/usr/bin/env node
import { text } from 'node:stream/consumers'
import { useServiceHeap } from './cli/service-heap.ts'

if (process.argv[2] === 'serve') useServiceHeap()

// A reader that went away (`postern routes | head -1`) is no fault.
process.stdout.on('error', (cause: NodeJS.ErrnoException) => process.exit(cause.code === 'EPIPE' ? 0 : 1))

const { run } = await import('./cli/program.ts')
process.exitCode = await run(process.argv.slice(2), {
  out: (line) => process.stdout.write(line),
  err: (line) => process.stderr.write(line),
  env: process.env,
  stdin: () => text(process.stdin),
})
