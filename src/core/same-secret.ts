import { hash, timingSafeEqual } from 'node:crypto'

/** Whether what was shown is the secret, told in a time that says nothing of where they differ, nor of their lengths. */
export const sameSecret = (shown: string, secret: string): boolean =>
  timingSafeEqual(hash('sha256', shown, 'buffer'), hash('sha256', secret, 'buffer'))
