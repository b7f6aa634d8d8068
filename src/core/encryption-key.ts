/**
 * The 32 bytes of `issuer.keys.encryption_key`.
 * @param text hexadecimal, base64 or base64url, with or without padding
 * @returns undefined where it is none of them, or of another length
 */
export function encryptionKeyBytes(text: string): Buffer | undefined {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex')
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined
}
